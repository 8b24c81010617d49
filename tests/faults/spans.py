"""Small OTLP requests, made by the tests themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from agenttrace_core.wire import otlp

_Request = otlp.message_class("Request")


@dataclass(frozen=True)
class SpanSpec:
    """A span as a test thinks of it; times in nanoseconds."""

    trace_id: bytes
    span_id: bytes
    start_ns: int
    end_ns: int
    parent: bytes = b""
    name: str = "chat"
    service: str = "svc"
    kind: int = 3
    tokens: int | None = 0
    error: bool = False
    text: str = ""
    operation: str = ""
    agent: str = ""
    session: str = ""
    user: str = ""

    def ended(self, end_ns: int, **changes: Any) -> SpanSpec:
        """The same span, sent again with an end."""
        return replace(self, end_ns=end_ns, **changes)


def request(*spans: SpanSpec) -> bytes:
    """Encode spans as one ``ExportTraceServiceRequest``, a resource a service."""
    message: Any = _Request()
    for service in dict.fromkeys(span.service for span in spans):
        resource_spans = message.resource_spans.add()
        _attribute(resource_spans.resource.attributes, "service.name", service)
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = b"tests"
        for spec in spans:
            if spec.service == service:
                _add(scope_spans.spans, spec)
    encoded: bytes = message.SerializeToString()
    return encoded


def _add(spans: Any, spec: SpanSpec) -> None:
    span = spans.add(
        trace_id=spec.trace_id, span_id=spec.span_id, parent_span_id=spec.parent, name=spec.name.encode(),
        kind=spec.kind, start_time_unix_nano=spec.start_ns, end_time_unix_nano=spec.end_ns,
    )  # fmt: skip
    span.status.code = 2 if spec.error else 1
    if spec.tokens is not None:
        _attribute(span.attributes, "gen_ai.usage.input_tokens", spec.tokens)
    texts = {
        "gen_ai.input.messages": spec.text, "gen_ai.operation.name": spec.operation, "session.id": spec.session,
        "gen_ai.agent.name": spec.agent, "user.id": spec.user,
    }  # fmt: skip
    for key, text in texts.items():
        if text:
            _attribute(span.attributes, key, text)


def _attribute(attributes: Any, key: str, value: str | int) -> None:
    attribute = attributes.add(key=key.encode())
    if isinstance(value, int):
        attribute.value.int_value = value
    else:
        attribute.value.string_value = value.encode()


def now_ns() -> int:
    """The time, whole to the second, so that tests read well."""
    return time.time_ns() // 10**9 * 10**9
