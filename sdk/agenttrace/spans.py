"""A span as the program sees it: what it was given, what came out, what it cost, how good it was."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import StatusCode

from agenttrace import semconv
from agenttrace.content import as_name, as_text, clean

if TYPE_CHECKING:
    from agenttrace.tracer import AgentTrace

_log = logging.getLogger("agenttrace")

_STATUS_CHARS: Final = 2_000
_CHARS: Final = 100_000
_MOST_ITEMS: Final = 10_000
_INT64: Final = 1 << 63


class Span:
    """A span under way. Every method is safe to call at any time, and none of them raises.

    ``otel`` is the OpenTelemetry span, for whatever is not offered here.
    """

    __slots__ = ("_operation", "_tracer", "otel")

    def __init__(self, tracer: AgentTrace, otel: trace.Span, operation: str | None) -> None:
        self._tracer = tracer
        self._operation = operation
        self.otel = otel

    @property
    def trace_id(self) -> str:
        """The trace's id: 32 hex digits."""
        return trace.format_trace_id(self.otel.get_span_context().trace_id)

    @property
    def span_id(self) -> str:
        """The span's id: 16 hex digits."""
        return trace.format_span_id(self.otel.get_span_context().span_id)

    def set_input(self, value: Any) -> None:
        """Record what the span was given: messages of an inference, arguments of a tool, anything of others."""
        self._set_content(input_key(self._operation, value), value)

    def set_output(self, value: Any) -> None:
        """Record what came out of it."""
        self._set_content(output_key(self._operation, value), value)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute. What OpenTelemetry has no type for is kept as text."""
        self.otel.set_attribute(as_name(key), plain(value, self._longest()))

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        longest = self._longest()
        self.otel.set_attributes({as_name(key): plain(value, longest) for key, value in attributes.items()})

    def set_model(self, model: str, provider: str | None = None) -> None:
        """Say which model was asked."""
        self.otel.set_attribute(semconv.REQUEST_MODEL, as_name(model))
        if provider is not None:
            self.otel.set_attribute(semconv.PROVIDER, as_name(provider))

    def set_usage(
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        *,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
    ) -> None:
        """Say how many tokens it took. Cached tokens are among the input's, reasoning among the output's."""
        given = {
            semconv.INPUT_TOKENS: input_tokens,
            semconv.OUTPUT_TOKENS: output_tokens,
            semconv.CACHE_READ_TOKENS: cache_read_tokens,
            semconv.CACHE_WRITE_TOKENS: cache_write_tokens,
            semconv.REASONING_TOKENS: reasoning_tokens,
        }
        self.set_attributes({key: value for key, value in given.items() if value is not None})

    def set_prompt(self, name: str, version: str | int | None = None) -> None:
        """Say which managed prompt was used."""
        self.otel.set_attribute(semconv.PROMPT_NAME, as_name(name))
        if version is not None:
            self.otel.set_attribute(semconv.PROMPT_VERSION, as_name(version))

    def set_error(self, error: BaseException | str) -> None:
        """Say that it failed. An exception is recorded with its trace."""
        if isinstance(error, BaseException):
            record_error(self.otel, error)
        else:
            self.otel.set_status(StatusCode.ERROR, as_name(error, _STATUS_CHARS))

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Note something that happened at this moment."""
        longest = self._longest()
        self.otel.add_event(as_name(name), {as_name(k): plain(v, longest) for k, v in (attributes or {}).items()})

    def score(
        self, name: str, value: float | bool | None = None, *, label: str | None = None, explanation: str | None = None
    ) -> None:
        """Say how good this span was; see ``AgentTrace.score``, in place of whose errors this writes to the log."""
        if not self.otel.get_span_context().is_valid:  # recording is switched off
            return
        try:
            self._tracer.score(
                name, value, label=label, explanation=explanation, trace_id=self.trace_id, span_id=self.span_id
            )
        except ValueError as error:
            _log.warning("a score is not sent: %s", error)

    def _longest(self) -> int:
        return self._tracer.settings.max_content_chars

    def _set_content(self, key: str, value: Any) -> None:
        if self._tracer.settings.capture_content and self.otel.is_recording():
            self.otel.set_attribute(key, as_text(value, self._longest()))


def input_key(operation: str | None, value: Any) -> str:
    """Return the attribute that holds the input of a span of this operation."""
    if operation == "execute_tool":
        return semconv.TOOL_ARGUMENTS
    if operation == "retrieval" and isinstance(value, str):
        return semconv.RETRIEVAL_QUERY
    if operation in semconv.INFERENCE_OPERATIONS | semconv.AGENT_OPERATIONS and _is_messages(value):
        return semconv.INPUT_MESSAGES
    return semconv.INPUT


def output_key(operation: str | None, value: Any) -> str:
    """Return the attribute that holds the output of a span of this operation."""
    if operation == "execute_tool":
        return semconv.TOOL_RESULT
    if operation == "retrieval" and isinstance(value, list):
        return semconv.RETRIEVAL_DOCUMENTS
    if operation in semconv.INFERENCE_OPERATIONS | semconv.AGENT_OPERATIONS and _is_messages(value):
        return semconv.OUTPUT_MESSAGES
    return semconv.OUTPUT


def record_error(span: trace.Span, error: BaseException) -> None:
    """Mark a span as failed by an exception, whatever the exception's own methods do.

    The event is the one that OpenTelemetry's ``record_exception`` adds, but of bounded length.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message, trail = str(error), "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - an exception's own __str__ may raise anything, and this must not
        message = "(its message cannot be read)"
        trail = "".join([*traceback.format_tb(error.__traceback__), f"{name}: {message}\n"])
    if len(trail) > _CHARS:  # where it was raised is told at the end
        trail = f"({len(trail) - _CHARS} characters more) …{trail[-_CHARS:]}"
    told = {"type": name, "message": as_name(message, _CHARS), "stacktrace": clean(trail), "escaped": "False"}
    span.set_attribute(semconv.ERROR_TYPE, name)
    span.add_event("exception", {f"exception.{key}": text for key, text in told.items()})
    span.set_status(StatusCode.ERROR, as_name(message, _STATUS_CHARS))


def plain(value: Any, longest: int = _CHARS) -> Any:
    """Return ``value`` as one that an attribute of OpenTelemetry can have; what it has no type for, as text."""
    kind = type(value)
    if kind is str:
        return clean(value) if len(value) <= longest else as_text(value, longest)
    if kind is bool or kind is float or (kind is int and -_INT64 <= value < _INT64):
        return value
    if kind in {list, tuple} and value and len(value) <= _MOST_ITEMS:
        first = type(value[0])
        alike = first in {str, bool, int, float} and all(type(item) is first for item in value)
        if alike and (first is not str or sum(map(len, value)) <= longest):
            return tuple(plain(item) for item in value)
    return as_text(value, longest)


def _is_messages(value: Any) -> bool:
    return type(value) is list and bool(value) and all(isinstance(item, Mapping) and "role" in item for item in value)
