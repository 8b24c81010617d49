"""``AgentTrace``: makes spans of agents, tools and steps, and sends them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, set_span_in_context

from agenttrace import semconv
from agenttrace.content import clean
from agenttrace.context import Scope
from agenttrace.decorators import Call, traced
from agenttrace.encode import encode_event_record
from agenttrace.pipeline import Pipeline, pipeline_of
from agenttrace.redaction import redacted_attributes
from agenttrace.settings import Settings
from agenttrace.spans import Span, record_error
from agenttrace_core.version import __version__

P = ParamSpec("P")
R = TypeVar("R")

SCOPE_NAME = "agenttrace"


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
        self._pipeline: Pipeline = pipeline_of(endpoint=endpoint, api_key=api_key, service=service, **settings)
        self._otel = self._pipeline.provider.get_tracer(SCOPE_NAME, __version__)

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
        told: dict[str, Any] = {} if operation is None else {semconv.OPERATION: operation}
        if operation in semconv.AGENT_OPERATIONS:
            told[semconv.WORKFLOW_NAME if operation == "invoke_workflow" else semconv.AGENT_NAME] = name
        elif operation == "execute_tool":
            told[semconv.TOOL_NAME] = name
        otel = self._otel.start_span(
            name, context, kind=kind, attributes=told, start_time=start_ns, record_exception=False
        )
        span = Span(self, otel, operation)
        if attributes:
            span.set_attributes(attributes)
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
            ValueError: there is neither value nor label, an id is none, or no span is current and none was named.
        """
        if value is None and label is None:
            raise ValueError(f"the score {name!r} needs a value or a label")
        trace_number, span_number = _target(trace_id, span_id)
        attributes: dict[str, Any] = {semconv.EVALUATION_NAME: clean(name)}
        if value is not None:
            attributes[semconv.EVALUATION_VALUE] = float(value)
        given = {semconv.EVALUATION_LABEL: label, semconv.EVALUATION_EXPLANATION: explanation}
        texts = {key: clean(text) for key, text in given.items() if text is not None}
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


class SpanContext:
    """A span around a block of code. An exception that leaves the block is recorded, and goes on."""

    __slots__ = ("_given", "_span", "_token", "_tracer")

    def __init__(
        self,
        tracer: AgentTrace,
        name: str,
        operation: str | None,
        given: Any,
        attributes: Mapping[str, Any] | None,
        kind: SpanKind,
    ) -> None:
        self._tracer = tracer
        self._given = (name, operation, given, attributes, kind)
        self._span: Span | None = None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Span:
        name, operation, given, attributes, kind = self._given
        self._span = span = self._tracer.start(clean(str(name)), operation, attributes, kind)
        if given is not None:
            span.set_input(given)
        self._token = attach(set_span_in_context(span.otel))
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._token is not None:
            detach(self._token)
        if self._span is not None:
            if error is not None and not isinstance(error, GeneratorExit):
                record_error(self._span.otel, error)
            self._span.otel.end()

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, where)


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
