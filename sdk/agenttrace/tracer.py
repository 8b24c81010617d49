"""``AgentTrace``: makes spans of agents, tools and steps, and sends them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar, overload

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from agenttrace import pipeline, semconv
from agenttrace.block import SpanContext
from agenttrace.content import as_name
from agenttrace.context import Scope
from agenttrace.decorators import Call, traced
from agenttrace.encode import encode_event_record
from agenttrace.pipeline import Pipeline
from agenttrace.redaction import redacted_attributes
from agenttrace.settings import Settings
from agenttrace.spans import Span
from agenttrace_core.version import __version__

P = ParamSpec("P")
R = TypeVar("R")

SCOPE_NAME = "agenttrace"
_TEXT_CHARS: Final = 100_000
_log = logging.getLogger("agenttrace")


class AgentTrace:
    """Makes spans. Without arguments, as ``init`` or the environment say; with any, of its own.

    Args:
        endpoint: base URL of AgentTrace, or of any OTLP/HTTP receiver; else ``AGENTTRACE_ENDPOINT``, else
            OpenTelemetry's variables, else the server on this machine.
        api_key: sent as ``Authorization: Bearer``; else ``AGENTTRACE_API_KEY``.
        service: the service's name; else ``OTEL_SERVICE_NAME``.
        settings: further settings, see ``agenttrace.settings.resolve``.

    Raises:
        ValueError: a setting has a value that it cannot have.
    """

    def __init__(
        self, endpoint: str | None = None, api_key: str | None = None, *, service: str | None = None, **settings: Any
    ) -> None:
        self._own = pipeline.its_own(endpoint=endpoint, api_key=api_key, service=service, **settings)
        self._used = _source_of(self._own or pipeline.start())

    def _in_force(self) -> tuple[Pipeline, trace.Tracer]:
        """Its own pipeline, or the process's: another one after an ``init`` that came later than this tracer."""
        latest = self._own or pipeline.current()
        if latest is not None and latest is not self._used[0]:
            self._used = _source_of(latest)
        return self._used

    @property
    def _pipeline(self) -> Pipeline:
        return self._in_force()[0]

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._pipeline.settings

    @property
    def provider(self) -> TracerProvider:
        """OpenTelemetry's provider of the spans."""
        return self._pipeline.provider

    # -- spans ------------------------------------------------------------------------------------

    def span(
        self,
        name: str,
        operation: str | None = None,
        *,
        input: Any = None,  # noqa: A002 - what users call it
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> SpanContext:
        """Return a context manager (``with`` or ``async with``) around a span, which it gives.

        Args:
            name: of the span.
            operation: what it does, as OpenTelemetry's ``gen_ai.operation.name`` (``chat``, ``execute_tool``,
                ``invoke_agent``, ``retrieval``, …), or ``chain``, ``rerank``, ``guardrail``, ``evaluate``.
            input: what it is given.
            attributes: more about it.
            kind: OpenTelemetry's kind.
        """
        return SpanContext(self, name, operation, input, attributes, kind)

    def start(
        self,
        name: str,
        operation: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        *,
        context: Context | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """Start a span that is not made current. Whoever starts it ends it: ``span.otel.end()``.

        Args:
            name: of the span.
            operation: see ``span``.
            attributes: more about it.
            kind: OpenTelemetry's kind.
            context: whose current span is the parent; by default the current context.
            start_ns: when it began, in nanoseconds since the epoch; by default now.
        """
        try:
            name, operation = as_name(name), None if operation is None else as_name(operation)
            told: dict[str, Any] = {} if operation is None else {semconv.OPERATION: operation}
            if operation in semconv.AGENT_OPERATIONS:
                told[semconv.WORKFLOW_NAME if operation == "invoke_workflow" else semconv.AGENT_NAME] = name
            elif operation == "execute_tool":
                told[semconv.TOOL_NAME] = name
            otel = self._in_force()[1].start_span(
                name, context, kind=kind, attributes=told, start_time=start_ns, record_exception=False
            )
            span = Span(self, otel, operation)
            if attributes:
                span.set_attributes(attributes)
        except Exception:  # noqa: BLE001 - such as another processor's, or odd attributes: the program goes on
            _log.warning("a span cannot be started; the program goes on without", exc_info=True)
            return Span(self, trace.INVALID_SPAN, None)
        return span

    def current(self) -> Span:
        """Return the span that is current here; one that records nothing, if none is."""
        otel = trace.get_current_span()
        operation = (getattr(otel, "attributes", None) or {}).get(semconv.OPERATION)
        return Span(self, otel, operation)

    # -- decorators -------------------------------------------------------------------------------

    def trace_agent(self, name: str | None = None, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function that is an agent."""
        return self._decorator("invoke_agent", name, options)

    def trace_workflow(self, name: str | None = None, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function that runs several agents."""
        return self._decorator("invoke_workflow", name, options)

    def trace_tool(self, name: str | None = None, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function that is a tool."""
        return self._decorator("execute_tool", name, options)

    def trace_chain(self, name: str | None = None, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function that is a step of several."""
        return self._decorator("chain", name, options)

    def trace_retriever(self, name: str | None = None, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function that looks documents up."""
        return self._decorator("retrieval", name, options)

    def trace_llm(self, name: str | None = None, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function that asks a model."""
        return self._decorator("chat", name, options, SpanKind.CLIENT)

    @overload
    def trace(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def trace(self, name: str | None = None, /, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def trace(self, name: Any = None, /, **options: Any) -> Any:
        """Decorate any function; also without brackets: ``@tracer.trace``.

        Options of all decorators: ``name`` (by default the function's), ``capture_input`` and ``capture_output``
        (by default true), ``attributes``, ``operation``.
        """
        if callable(name):
            return self._decorator(None, None, options)(name)
        return self._decorator(options.pop("operation", None), options.pop("name", name), options)

    def _decorator(
        self, operation: str | None, name: Any, options: Mapping[str, Any], kind: SpanKind = SpanKind.INTERNAL
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        if callable(name):
            raise TypeError("write the decorator with brackets: @tracer.trace_agent()")
        return lambda function: traced(function, Call(self, operation, name, kind, **options))

    # -- what spans carry -------------------------------------------------------------------------

    def session(
        self,
        session: str | None = None,
        *,
        user: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Scope:
        """Return a context manager within which all spans carry this session, user, tags and metadata."""
        return Scope(
            session=session, user=user, tags=tags, metadata=metadata, propagate=self._pipeline.settings.propagate
        )

    def score(
        self,
        name: str,
        value: float | bool | None = None,
        *,
        label: str | None = None,
        explanation: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
    ) -> None:
        """Say how good a span or trace was, now or later: by default the span that is current.

        Args:
            name: of what is judged, such as ``helpful``.
            value: a number, or true or false.
            label: a word, such as ``good``.
            explanation: why.
            trace_id: of the trace, 32 hex digits.
            span_id: of the span, 16 hex digits; without, the whole trace is meant.

        Raises:
            ValueError: there is neither value nor label, the value is no finite number, an id is none, or no span is
                current and none was named.
        """
        if value is None and label is None:
            raise ValueError(f"the score {as_name(name)!r} needs a value or a label")
        trace_number, span_number = _target(trace_id, span_id)
        attributes: dict[str, Any] = {semconv.EVALUATION_NAME: as_name(name)}
        if value is not None:
            attributes[semconv.EVALUATION_VALUE] = _finite(name, value)
        given = {semconv.EVALUATION_LABEL: label, semconv.EVALUATION_EXPLANATION: explanation}
        texts = {key: as_name(text, _TEXT_CHARS) for key, text in given.items() if text is not None}
        attributes |= redacted_attributes(self.settings.redact, texts)
        record = encode_event_record(
            semconv.EVALUATION, attributes, time_ns=time.time_ns(), trace_id=trace_number, span_id=span_number
        )
        resource: Resource = self._pipeline.provider.resource
        self._pipeline.exporter.record(resource, InstrumentationScope(SCOPE_NAME, __version__), record)

    # -- sending ----------------------------------------------------------------------------------

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Send what is waiting, and say whether all of it went within the time."""
        return self._pipeline.exporter.force_flush(int(timeout_s * 1000))

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Send what is waiting, and stop. Spans that end later are dropped."""
        self._pipeline.shutdown(None if timeout_s is None else int(timeout_s * 1000))


def _source_of(running: Pipeline) -> tuple[Pipeline, trace.Tracer]:
    return running, running.provider.get_tracer(SCOPE_NAME, __version__)


def _target(trace_id: str | None, span_id: str | None) -> tuple[int, int | None]:
    if trace_id is None:
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            raise ValueError("no span is current here: say which trace is meant by trace_id=")
        return current.trace_id, current.span_id
    return _number("trace_id", trace_id, 32), None if span_id is None else _number("span_id", span_id, 16)


def _number(name: str, text: str, digits: int) -> int:
    try:
        number = int(text, 16) if len(text) == digits else 0
    except ValueError:
        number = 0
    if not number:
        raise ValueError(f"{name} = {text!r}: wanted are {digits} hex digits, not all zero")
    return number


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except Exception:  # noqa: BLE001 - the value's own methods may raise anything
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"the score {as_name(name)!r} has a value of {type(value).__name__} that is no finite number")
    return number
