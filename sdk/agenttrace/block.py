"""A span around a block of code: ``with tracer.span(…)``."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind, set_span_in_context

from agenttrace.spans import Span, record_error

if TYPE_CHECKING:
    from agenttrace.tracer import AgentTrace


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
        self._span = span = self._tracer.start(name, operation, attributes, kind)
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
