"""One span of the simple form into OTLP/JSON; the form is told in ``simple``."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from agenttrace_core.schema.tables import KINDS, STATUSES
from agenttrace_core.wire import json_text
from agenttrace_core.wire.scalars import INT64, UINT64, identity
from agenttrace_core.wire.wrong_field import WrongFieldError, not_a

Json = dict[str, Any]

_CANONICAL: Final = {
    "operation": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "agent": "gen_ai.agent.name",
    "tool": "gen_ai.tool.name",
    "session_id": "session.id",
    "user_id": "user.id",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "environment": "deployment.environment.name",
    "version": "agenttrace.version",
    "prompt": "gen_ai.prompt.name",
    "prompt_version": "gen_ai.prompt.version",
    "cost_usd": "gen_ai.usage.cost",
    "tags": "agenttrace.tags",
}
_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
SHARED: Final = ("trace_id", "service", "session_id", "user_id")
_SPAN_NAMES: Final = frozenset(_CANONICAL) | {
    "trace_id", "span_id", "parent_span_id", "name", "start", "end", "duration_ms", "kind", "status", "error",
    "service", "attributes", "input", "output", "events", "children",
}  # fmt: skip
_EVENT_NAMES: Final = frozenset({"name", "time", "attributes"})
_INFERENCES: Final = frozenset({"chat", "generate_content", "text_completion"})

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST_NS: Final = 10**17
"""March 1973. A smaller number is a count of seconds, milliseconds or microseconds."""


@dataclass(frozen=True, slots=True)
class Context:
    """What holds for a span unless it says otherwise. ``start_ns`` is its parent's."""

    trace_id: str
    parent_span_id: str = ""
    service: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    start_ns: int | None = None

    def within(self, given: Json) -> Context:
        """Return what holds inside of ``given``, a span or the outermost object.

        Raises:
            WrongFieldError: one of its shared fields is wrong.
        """
        own = {name: _text(given, name) for name in SHARED if given.get(name) is not None}
        if "trace_id" in own:
            own["trace_id"] = id_of(own["trace_id"], 16, "trace_id")
        return replace(self, **own)  # type: ignore[arg-type]


def otlp_span(span: object, span_id: str, outer: Context, now_ns: int) -> tuple[Json, Context]:
    """Return a span in OTLP/JSON, and what held for it.

    Raises:
        WrongFieldError: a field is unknown, missing, or has a wrong value.
    """
    if not isinstance(span, dict):
        raise not_a("an object", span)
    check_names(span, _SPAN_NAMES)
    if span.get("name") is None:
        raise WrongFieldError("missing; a span has one", "name")
    if not isinstance(span.get("children"), list | None):
        raise not_a("an array", span["children"]).under("children")
    context = outer.within(span)
    start_ns, end_ns = times_of(span, context.start_ns)
    if start_ns is None:
        end_ns = now_ns
        start_ns = now_ns - (_duration_ns(span) or 0)
    parent = span.get("parent_span_id")
    error_attributes, status = _status(span)
    otlp: Json = {
        "traceId": context.trace_id,
        "spanId": id_of(span_id if span.get("span_id") is None else span["span_id"], 8, "span_id"),
        "name": _text(span, "name"),
        "kind": 1 + _choice(span, "kind", KINDS[1:], default=0),
        "startTimeUnixNano": start_ns,
        "attributes": [*_attributes(span), *_canonical(span, context), *error_attributes],
        "events": _events(span, start_ns),
    }
    if end_ns is not None:
        otlp["endTimeUnixNano"] = end_ns
    if parent or context.parent_span_id:
        otlp["parentSpanId"] = id_of(parent, 8, "parent_span_id") if parent else context.parent_span_id
    if status:
        otlp["status"] = status
    return otlp, context


def check_names(given: Json, known: frozenset[str]) -> None:
    """See that ``given`` has no names but ``known`` ones.

    Raises:
        WrongFieldError: it has; the message says which known one is nearest.
    """
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name[:40], known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "put what is your own under 'attributes'"
            raise WrongFieldError(f"there is no such field; {hint}", name[:80])


def _text(given: Json, name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise not_a("text", value).under(name)
    return value


def id_of(value: object, size: int, name: str) -> str:
    """Return an id of ``size`` bytes as lowercase hex.

    Raises:
        WrongFieldError: the field ``name`` holds none.
    """
    try:
        return identity(value, size).hex()
    except WrongFieldError as error:
        raise error.under(name) from None


def _choice(given: Json, name: str, choices: tuple[str, ...], default: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if value not in choices:
        raise not_a(f"one of {', '.join(choices)}", value).under(name)
    return choices.index(value)


# --- time ---


def times_of(span: Json, parent_start_ns: int | None) -> tuple[int | None, int | None]:
    """Return start and end in nanoseconds since the epoch, from two of three, or from the parent's start."""
    start, end, duration = time_of(span, "start"), time_of(span, "end"), _duration_ns(span)
    if None not in (start, end, duration):
        raise WrongFieldError("give two of start, end and duration_ms", "duration_ms")
    if start is None and end is not None:
        return end - (duration or 0), end
    if start is None and parent_start_ns is not None:
        return parent_start_ns, parent_start_ns + (duration or 0)
    if start is not None and duration is not None:
        return start, start + duration
    return start, end


def time_of(given: Json, name: str) -> int | None:
    """Return a time in nanoseconds since the epoch, None where there is none.

    Raises:
        WrongFieldError: the field ``name`` holds something else.
    """
    value: object = given.get(name)
    if value is None:
        return None
    if isinstance(value, str) and (match := _RFC3339.fullmatch(value)):
        return _in_range(name, _rfc3339_ns(name, match))
    if isinstance(value, int) and not isinstance(value, bool):
        return _in_range(name, int(value))
    raise not_a("RFC 3339 with an offset, such as 2026-11-24T02:00:00Z, or integer nanoseconds", value).under(name)


def _rfc3339_ns(name: str, match: re.Match[str]) -> int:
    date, clock, fraction, offset = match.groups()
    try:
        since_epoch = datetime.fromisoformat(f"{date}T{clock}{offset.upper()}") - _EPOCH
    except ValueError:
        raise not_a("a time", match[0]).under(name) from None
    return since_epoch // timedelta(seconds=1) * 10**9 + int((fraction or "").ljust(9, "0"))


def _in_range(name: str, nanoseconds: int) -> int:
    if not _LEAST_NS <= nanoseconds <= UINT64[1]:
        raise WrongFieldError(f"{nanoseconds} is not a count of nanoseconds since 1970, of a time after 1973", name)
    return nanoseconds


def _duration_ns(span: Json) -> int | None:
    value = span.get("duration_ms")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 10**12:
        raise not_a("a number of milliseconds", value).under("duration_ms")
    return round(float(value) * 1_000_000)


# --- attributes ---


def _attributes(given: Json) -> list[Json]:
    attributes = given.get("attributes")
    if attributes is None:
        return []
    if not isinstance(attributes, dict):
        raise not_a("an object", attributes).under("attributes")
    return [attribute(key, value) for key, value in attributes.items()]


def _canonical(span: Json, context: Context) -> list[Json]:
    pairs = []
    for name, key in _CANONICAL.items():
        value = getattr(context, name) if name in SHARED else span.get(name)
        if value is None:
            continue
        _check(name, value)
        pairs.append(attribute(key, value))
    for side, role in (("input", "user"), ("output", "assistant")):
        if span.get(side) is not None:
            pairs += (attribute(key, value) for key, value in _content(span, side, role))
    return pairs


def _check(name: str, value: object) -> None:
    """See that a canonical field holds what it must."""
    if name in _TOKENS:
        wanted, good = "a count", type(value) is int and value >= 0
    elif name == "cost_usd":
        wanted, good = "a number of dollars", isinstance(value, int | float) and type(value) is not bool and value >= 0
    elif name == "tags":
        wanted, good = "an array of texts", isinstance(value, list) and all(isinstance(tag, str) for tag in value)
    else:
        wanted, good = "text", isinstance(value, str)
    if not good:
        raise not_a(wanted, value).under(name)


def _content(span: Json, side: str, role: str) -> list[tuple[str, str]]:
    """Return the attributes that hold a span's input or output."""
    value = span[side]
    operation = span.get("operation")
    if operation == "execute_tool" or (operation is None and span.get("tool")):
        return [(f"gen_ai.tool.call.{'arguments' if side == 'input' else 'result'}", _as_text(value))]
    if isinstance(value, str) and (operation in _INFERENCES or (operation is None and span.get("model"))):
        value = {"role": role, "content": value}
    messages: list[Any] = value if isinstance(value, list) else [value]
    if messages and all(isinstance(message, dict) and "role" in message for message in messages):
        return [(f"gen_ai.{side}.messages", _as_text([_message(message) for message in messages]))]
    mime_type = "text/plain" if isinstance(value, str) else "application/json"
    return [(f"{side}.value", _as_text(value)), (f"{side}.mime_type", mime_type)]


def _message(message: Json) -> Json:
    """Return a message with ``parts``, as GenAI's conventions have it; text ``content`` becomes one."""
    content = message.get("content")
    if "parts" in message or not isinstance(content, str):
        return message
    rest = {name: value for name, value in message.items() if name != "content"}
    return rest | {"parts": [{"type": "text", "content": content}]}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json_text.dumps(value).decode()


def _status(span: Json) -> tuple[list[Json], Json]:
    """Return the attributes and the OTLP status that ``status`` and ``error`` say."""
    error = span.get("error")
    status: Json = {}
    if span.get("status") is not None:
        status["code"] = _choice(span, "status", STATUSES, default=0)
    if error is None or error is False:
        return [], status
    if status.get("code", 2) != 2:
        raise WrongFieldError(f"the status is {span['status']!r}, and there is an error", "status")
    if error is True:
        return [], {"code": 2}
    if isinstance(error, str):
        return [], {"code": 2, "message": error}
    if not isinstance(error, dict):
        raise not_a("text or an object with type and message", error).under("error")
    parts = {name: _text(error, name) for name in ("type", "message") if error.get(name) is not None}
    attributes = [attribute("error.type", parts["type"])] if "type" in parts else []
    return attributes, {"code": 2, "message": parts.get("message", "")}


def _events(span: Json, start_ns: int) -> list[Json]:
    events = span.get("events")
    if events is None:
        return []
    if not isinstance(events, list):
        raise not_a("an array", events).under("events")
    found = []
    for i, event in enumerate(events):
        try:
            found.append(_event(event, start_ns))
        except WrongFieldError as error:
            raise error.under("events", i) from None
    return found


def _event(event: object, start_ns: int) -> Json:
    if not isinstance(event, dict):
        raise not_a("an object", event)
    check_names(event, _EVENT_NAMES)
    if event.get("name") is None:
        raise WrongFieldError("missing; an event has one", "name")
    at = time_of(event, "time")
    return {
        "timeUnixNano": start_ns if at is None else at,
        "name": _text(event, "name"),
        "attributes": _attributes(event),
    }


def attribute(key: str, value: object) -> Json:
    """Return an attribute in OTLP/JSON of a key and plain JSON."""
    return {"key": key, "value": any_value_of(value)}


def any_value_of(value: object) -> Json:
    """Return plain JSON as an ``AnyValue`` in OTLP/JSON, at any depth; an integer beyond 64 bits becomes text."""
    top: Json = {}
    waiting: list[tuple[Json, Any]] = [(top, value)]
    while waiting:
        target, plain = waiting.pop()
        if isinstance(plain, dict):
            pairs: list[Json] = [{"key": key, "value": {}} for key in plain]
            target["kvlistValue"] = {"values": pairs}
            waiting.extend((pair["value"], inner) for pair, inner in zip(pairs, plain.values(), strict=True))
        elif isinstance(plain, list):
            values: list[Json] = [{} for _ in plain]
            target["arrayValue"] = {"values": values}
            waiting.extend(zip(values, plain, strict=True))
        elif plain is not None:
            target |= _scalar(plain)
    return top


def _scalar(value: object) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": value} if INT64[0] <= value <= INT64[1] else {"stringValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
