"""CrewAI: crews, tasks, flows, and what its event bus tells of models, tools, memory and knowledge.

Crews, tasks and flows are wrapped, so that whatever runs within them hangs under them. Models and tools are known from
events, at the moment when they are emitted, in the program's own thread: the bus hands them to its listeners in a pool
of threads later, where neither order nor context are the program's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import wrapt
from opentelemetry.trace import SpanKind

from agenttrace import semconv
from agenttrace.auto import openai_messages as messages
from agenttrace.auto.inference import Cover, stands_back
from agenttrace.block import SpanContext
from agenttrace.quiet import never_raises
from agenttrace.spans import Span
from agenttrace.tracer import AgentTrace

_ENTRIES: Final = (
    ("crewai.crew", "Crew.kickoff", False),
    ("crewai.crew", "Crew.akickoff", True),
    ("crewai.task", "Task._execute_core", False),
    ("crewai.task", "Task._aexecute_core", True),
    ("crewai.flow.flow", "Flow.kickoff_async", True),
    ("crewai.flow.flow", "Flow._execute_method", True),
)
"""What is wrapped, and whether it is a coroutine. What a release does not have is passed by."""

_REQUEST: Final = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty")
_MOST_OPEN: Final = 10_000
_instrumented: list[_Listener] = []


def instrument(tracer: AgentTrace) -> None:
    """Have crews recorded from now on. Later calls change nothing."""
    if _instrumented:
        return
    listener = _Listener(tracer)
    _instrumented.append(listener)
    for module, name, is_async in _ENTRIES:
        try:
            wrapt.wrap_function_wrapper(module, name, _entry(tracer, name, is_async=is_async))
        except (ImportError, AttributeError):
            continue
    wrapt.wrap_function_wrapper("crewai.events.event_bus", "CrewAIEventsBus.emit", listener.emitted)


# --- Crews, tasks, flows -----------------------------------------------------------------------


def _entry(tracer: AgentTrace, name: str, *, is_async: bool) -> Callable[..., Any]:
    open_span = {"Crew": _crew, "Task": _task, "Flow": _flow}[name.partition(".")[0]]

    def called(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        around = open_span(tracer, name, instance, args, kwargs)
        if around is None:
            return wrapped(*args, **kwargs)
        with around as span:
            result = wrapped(*args, **kwargs)
            _set_output(span, result)
            return result

    async def called_async(
        wrapped: Callable[..., Awaitable[Any]], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        around = open_span(tracer, name, instance, args, kwargs)
        if around is None:
            return await wrapped(*args, **kwargs)
        with around as span:
            result = await wrapped(*args, **kwargs)
            _set_output(span, result)
            return result

    return called_async if is_async else called


@never_raises
def _crew(
    tracer: AgentTrace, _: str, crew: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> SpanContext | None:
    inputs = kwargs.get("inputs", args[0] if args else None)
    attributes = {"crewai.crew.id": str(getattr(crew, "id", "")), "crewai.process": str(getattr(crew, "process", ""))}
    return tracer.span(
        str(getattr(crew, "name", None) or "crew"), "invoke_workflow", input=inputs, attributes=attributes
    )


@never_raises
def _task(
    tracer: AgentTrace, _: str, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> SpanContext | None:
    agent = kwargs.get("agent", args[0] if args else None) or getattr(task, "agent", None)
    role = str(getattr(agent, "role", None) or "agent").strip()
    attributes = {
        "crewai.task.id": str(getattr(task, "id", "")),
        "crewai.task.name": str(getattr(task, "name", None) or ""),
        "crewai.task.expected_output": str(getattr(task, "expected_output", None) or ""),
        semconv.AGENT_ID: str(getattr(agent, "id", "")),
    }
    return tracer.span(role, "invoke_agent", input=getattr(task, "description", None), attributes=attributes)


@never_raises
def _flow(
    tracer: AgentTrace, name: str, flow: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> SpanContext | None:
    if type(flow).__module__.startswith("crewai."):  # how CrewAI runs an agent is not what the user wrote
        return None
    if name.endswith("_execute_method"):
        return tracer.span(str(args[0] if args else kwargs.get("method_name", "method")), "chain")
    inputs = kwargs.get("inputs", args[0] if args else None)
    return tracer.span(str(getattr(flow, "name", None) or type(flow).__name__), "invoke_workflow", input=inputs)


@never_raises
def _set_output(span: Span, result: Any) -> None:
    if result is not None:
        span.set_output(getattr(result, "raw", result))


# --- Models, tools, memory, knowledge ------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    span: Span
    cover: Cover | None = None


class _Listener:
    """Turns events into spans, by the ids that join an end to its start."""

    def __init__(self, tracer: AgentTrace) -> None:
        self._tracer = tracer
        self._open: dict[str, _Open] = {}
        self._lock = Lock()
        self._handlers: dict[str, Callable[[Any, Any], None]] = {
            "llm_call_started": self._llm_started,
            "llm_stream_chunk": self._llm_chunk,
            "llm_call_completed": self._llm_completed,
            "llm_call_failed": self._llm_failed,
            "tool_usage_started": self._tool_started,
            "tool_usage_finished": self._tool_finished,
            "tool_usage_error": self._tool_failed,
            "knowledge_query_started": self._query_started,
            "knowledge_query_completed": self._query_completed,
            "knowledge_query_failed": self._query_failed,
            "memory_query_started": self._query_started,
            "memory_query_completed": self._query_completed,
            "memory_query_failed": self._query_failed,
        }

    def emitted(self, wrapped: Callable[..., Any], bus: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An event is emitted: first the bus gives it its ids, then we read them."""
        del bus
        result = wrapped(*args, **kwargs)
        self._seen(*args, **kwargs)
        return result

    @never_raises
    def _seen(self, source: Any, event: Any) -> None:
        handler = self._handlers.get(getattr(event, "type", ""))
        if handler is not None:
            handler(source, event)

    def _llm_started(self, source: Any, event: Any) -> None:
        if stands_back():
            return
        model = str(event.model or "")
        prefix, _, rest = model.rpartition("/")
        attributes: dict[str, Any] = {semconv.REQUEST_MODEL: rest or model}
        provider = prefix.partition("/")[0] or getattr(source, "provider", None)
        if isinstance(provider, str) and provider:
            attributes[semconv.PROVIDER] = provider
        attributes |= {f"gen_ai.request.{name}": getattr(event, name, None) for name in _REQUEST}
        span = self._begin(f"llm:{event.call_id}", f"chat {rest or model}", "chat", event, attributes, SpanKind.CLIENT)
        given = event.messages
        given = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
        span.set_input([messages.chat_message(message) for message in given])
        with self._lock:
            self._open[f"llm:{event.call_id}"].cover = Cover.begin()

    def _llm_chunk(self, _: Any, event: Any) -> None:
        opened = self._open.get(f"llm:{getattr(event, 'call_id', '')}")
        if opened is not None and semconv.TIME_TO_FIRST_CHUNK not in (
            getattr(opened.span.otel, "attributes", None) or {}
        ):
            begun = getattr(opened.span.otel, "start_time", None)
            if begun:
                opened.span.set_attribute(semconv.TIME_TO_FIRST_CHUNK, (_ns(event) - begun) / 1e9)

    def _llm_completed(self, _: Any, event: Any) -> None:
        opened = self._close(f"llm:{event.call_id}")
        if opened is None:
            return
        span = opened.span
        span.otel.set_attributes(_usage(event.usage))
        if event.response_id:
            span.set_attribute(semconv.RESPONSE_ID, event.response_id)
        if event.finish_reason:
            span.set_attribute(semconv.FINISH_REASONS, [event.finish_reason])
        span.set_output([_answer(event.response) | {"finish_reason": event.finish_reason or "unknown"}])
        span.otel.end(_ns(event))

    def _llm_failed(self, _: Any, event: Any) -> None:
        self._fail(f"llm:{event.call_id}", event, event.error)

    def _tool_started(self, _: Any, event: Any) -> None:
        span = self._begin(f"event:{event.event_id}", str(event.tool_name), "execute_tool", event, {})
        span.set_input(event.tool_args)

    def _tool_finished(self, _: Any, event: Any) -> None:
        self._end(event, event.output)

    def _tool_failed(self, _: Any, event: Any) -> None:
        self._fail(f"event:{event.started_event_id}", event, event.error)

    def _query_started(self, source: Any, event: Any) -> None:
        name = type(source).__name__ if event.type.startswith("memory") else "knowledge"
        span = self._begin(f"event:{event.event_id}", name, "retrieval", event, {})
        span.set_input(getattr(event, "query", None) or getattr(event, "task_prompt", None))

    def _query_completed(self, _: Any, event: Any) -> None:
        self._end(event, getattr(event, "results", getattr(event, "query", None)))

    def _query_failed(self, _: Any, event: Any) -> None:
        self._fail(f"event:{event.started_event_id}", event, event.error)

    def _begin(
        self,
        key: str,
        name: str,
        operation: str,
        event: Any,
        attributes: Mapping[str, Any],
        kind: SpanKind | None = None,
    ) -> Span:
        told = {key: value for key, value in attributes.items() if value is not None}
        span = self._tracer.start(name, operation, told, kind or SpanKind.INTERNAL, start_ns=_ns(event))
        with self._lock:
            if len(self._open) >= _MOST_OPEN:  # what never ends must not fill the memory
                self._open.pop(next(iter(self._open))).span.otel.end()
            self._open[key] = _Open(span)
        return span

    def _close(self, key: str) -> _Open | None:
        with self._lock:
            opened = self._open.pop(key, None)
        if opened is not None and opened.cover is not None:
            opened.cover.end()
        return opened

    def _end(self, event: Any, output: Any) -> None:
        opened = self._close(f"event:{event.started_event_id}")
        if opened is not None:
            if output is not None:
                opened.span.set_output(output)
            opened.span.otel.end(_ns(event))

    def _fail(self, key: str, event: Any, error: Any) -> None:
        opened = self._close(key)
        if opened is not None:
            opened.span.set_error(error if isinstance(error, BaseException) else str(error))
            opened.span.otel.end(_ns(event))


def _ns(event: Any) -> int:
    return int(event.timestamp.timestamp() * 1_000_000) * 1_000


def _answer(response: Any) -> dict[str, Any]:
    if isinstance(response, list):  # calls of tools
        return messages.chat_message({"role": "assistant", "tool_calls": [_plain(call) for call in response]})
    return messages.chat_message({"role": "assistant", "content": response if isinstance(response, str) else None}) | (
        {} if isinstance(response, str) else {"parts": [{"type": "text", "content": _plain(response)}]}
    )


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", exclude_none=True) if callable(dump) else value


def _usage(usage: Any) -> dict[str, Any]:
    if not isinstance(usage, Mapping):
        return {}
    found = messages.usage_attributes(usage)
    for name, attribute in (
        ("cached_prompt_tokens", semconv.CACHE_READ_TOKENS),
        ("cached_tokens", semconv.CACHE_READ_TOKENS),
        ("cache_creation_tokens", semconv.CACHE_WRITE_TOKENS),
        ("reasoning_tokens", semconv.REASONING_TOKENS),
    ):
        if type(usage.get(name)) is int:
            found.setdefault(attribute, usage[name])
    return found
