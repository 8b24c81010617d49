"""A pen for writing traces by hand: spans nest as ``with`` blocks do, and time passes when it is told to."""

from __future__ import annotations

import json
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

_KINDS = {"internal": 1, "client": 3}
_ERROR = 2
_RESOURCE = {"demo": True, "deployment.environment.name": "demo", "service.version": "1.4.0"}


class Pen:
    """Writes one trace of one service as an OTLP/JSON ``ResourceSpans``.

    Args:
        service: the resource's ``service.name``.
        start_ns: when the trace begins, nanoseconds since the epoch.
        chance: where the ids come from.
        session: put on every root as ``gen_ai.conversation.id``; ``user`` likewise as ``user.id``.
    """

    def __init__(
        self, service: str, start_ns: int, chance: random.Random, *, session: str = "", user: str = ""
    ) -> None:
        self._service = service
        self._now_ns = start_ns
        self._chance = chance
        self._context = {key: text for key, text in (("gen_ai.conversation.id", session), ("user.id", user)) if text}
        self._trace_id = f"{chance.getrandbits(128) or 1:032x}"
        self._open: list[dict[str, Any]] = []
        self._spans: list[dict[str, Any]] = []

    def wait(self, milliseconds: float) -> None:
        """Let time pass, give or take a tenth."""
        self._now_ns += int(milliseconds * 1e6 * self._chance.uniform(0.9, 1.1))

    def back(self, milliseconds: float) -> None:
        """Turn the clock back, to begin something beside what came before."""
        self._now_ns -= int(milliseconds * 1e6)

    @contextmanager
    def span(self, name: str, attributes: dict[str, Any] | None = None, *, kind: str = "internal") -> Generator[None]:
        """Begin a span under the open one; what is written in the block is within it."""
        parent = self._open[-1] if self._open else None
        span: dict[str, Any] = {
            "traceId": self._trace_id,
            "spanId": f"{self._chance.getrandbits(64) or 1:016x}",
            "name": name,
            "kind": _KINDS[kind],
            "startTimeUnixNano": str(self._now_ns),
            "attributes": _attributes({**(attributes or {}), **(self._context if parent is None else {})}),
        }
        if parent is not None:
            span["parentSpanId"] = parent["spanId"]
        self._open.append(span)
        try:
            yield
        finally:
            span["endTimeUnixNano"] = str(max(self._now_ns, int(span["startTimeUnixNano"]) + 1000))
            self._spans.append(self._open.pop())

    def note(self, **attributes: Any) -> None:
        """Put attributes on the open span; ``__`` in a name stands for a dot."""
        self._open[-1]["attributes"] += _attributes({key.replace("__", "."): v for key, v in attributes.items()})

    def event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Put an event on the open span, now."""
        self._open[-1].setdefault("events", []).append(
            {"timeUnixNano": str(self._now_ns), "name": name, "attributes": _attributes(attributes or {})}
        )

    def fail(self, kind: str, message: str) -> None:
        """Have the open span fail, as instrumentations record an exception."""
        self.event("exception", {"exception.type": kind, "exception.message": message})
        self._open[-1]["status"] = {"code": _ERROR, "message": message}
        self.note(error__type=kind)

    @contextmanager
    def agent(self, name: str, task: str) -> Generator[None]:
        """Begin a span of an agent at work."""
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": name,
            "gen_ai.input.messages": messages("user", task),
        }
        with self.span(f"invoke_agent {name}", attributes):
            self.wait(8)
            yield

    def chat(
        self, model: str, prompt: str, answer: str, *, took_ms: float, tokens: tuple[int, int], provider: str = "openai"
    ) -> None:
        """Write a whole call of a model."""
        with self.calling(model, prompt, provider=provider):
            self.wait(took_ms)
            self.answered(answer, tokens)

    @contextmanager
    def calling(self, model: str, prompt: str, *, provider: str = "openai") -> Generator[None]:
        """Begin a call of a model; ``answered`` or ``fail`` says what came of it."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.request.temperature": 0.2,
            "gen_ai.input.messages": messages("user", prompt),
        }
        with self.span(f"chat {model}", attributes, kind="client"):
            yield

    def answered(self, answer: str, tokens: tuple[int, int], finish: str = "stop") -> None:
        """Put a model's answer and its use of tokens, in and out, on the open call."""
        self.note(
            gen_ai__output__messages=messages("assistant", answer),
            gen_ai__usage__input_tokens=tokens[0],
            gen_ai__usage__output_tokens=tokens[1],
            gen_ai__response__finish_reasons=[finish],
        )

    @contextmanager
    def tool(self, name: str, arguments: dict[str, Any]) -> Generator[None]:
        """Begin a call of a tool."""
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.arguments": json.dumps(arguments),
        }
        with self.span(f"execute_tool {name}", attributes):
            yield

    def resource_spans(self) -> dict[str, Any]:
        """Return what has been written. Children come before their parents, as exporters send them."""
        return {
            "resource": {"attributes": _attributes(_RESOURCE | {"service.name": self._service})},
            "scopeSpans": [{"scope": {"name": "agenttrace.demo", "version": "1"}, "spans": self._spans}],
        }


def messages(role: str, text: str) -> str:
    """Return one message in the form of the GenAI conventions, as JSON text."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}], ensure_ascii=False)


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
