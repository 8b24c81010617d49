"""The messages of OTLP traces and logs as JSON and protobuf know them (opentelemetry-proto 1.x).

Field numbers: https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto
"""

from __future__ import annotations

from typing import Final

from agenttrace_core.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from agenttrace_core.schema.tables import KINDS, STATUSES
from agenttrace_core.wire.message import (
    Message,
    any_values,
    attributes,
    enum,
    fixed32,
    fixed64,
    identity,
    loose_identity,
    message,
    messages,
    text,
    texts,
    uint32,
)

_KIND_NAMES = {f"SPAN_KIND_{name.upper()}": number for number, name in enumerate(KINDS)}
_CODE_NAMES = {f"STATUS_CODE_{name.upper()}": number for number, name in enumerate(STATUSES)}
_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_SEVERITY_NAMES = {"SEVERITY_NUMBER_UNSPECIFIED": 0} | {
    f"SEVERITY_NUMBER_{level}{step or ''}": 1 + 4 * i + max(step - 1, 0)
    for i, level in enumerate(_LEVELS)
    for step in (0, 2, 3, 4)
}

ENTITY_REF: Final = Message(
    text("schemaUrl", 1), text("type", 2), texts("idKeys", 3), texts("descriptionKeys", 4)
)  # fmt: skip

RESOURCE: Final = Message(
    attributes("attributes", 1), uint32("droppedAttributesCount", 2), messages("entityRefs", 3, ENTITY_REF)
)  # fmt: skip

SCOPE: Final = Message(
    text("name", 1), text("version", 2), attributes("attributes", 3), uint32("droppedAttributesCount", 4)
)  # fmt: skip

EVENT: Final = Message(
    fixed64("timeUnixNano", 1), text("name", 2), attributes("attributes", 3), uint32("droppedAttributesCount", 4)
)  # fmt: skip

LINK: Final = Message(
    loose_identity("traceId", 1, TRACE_ID_BYTES),
    loose_identity("spanId", 2, SPAN_ID_BYTES),
    text("traceState", 3),
    attributes("attributes", 4),
    uint32("droppedAttributesCount", 5),
    fixed32("flags", 6),
)

STATUS: Final = Message(text("message", 2), enum("code", 3, _CODE_NAMES))

SPAN: Final = Message(
    identity("traceId", 1, TRACE_ID_BYTES),
    identity("spanId", 2, SPAN_ID_BYTES),
    text("traceState", 3),
    loose_identity("parentSpanId", 4, SPAN_ID_BYTES),
    fixed32("flags", 16),
    text("name", 5),
    enum("kind", 6, _KIND_NAMES),
    fixed64("startTimeUnixNano", 7),
    fixed64("endTimeUnixNano", 8),
    attributes("attributes", 9),
    uint32("droppedAttributesCount", 10),
    messages("events", 11, EVENT),
    uint32("droppedEventsCount", 12),
    messages("links", 13, LINK),
    uint32("droppedLinksCount", 14),
    message("status", 15, STATUS),
)

LOG_RECORD: Final = Message(
    fixed64("timeUnixNano", 1),
    fixed64("observedTimeUnixNano", 11),
    enum("severityNumber", 2, _SEVERITY_NAMES),
    text("severityText", 3),
    any_values("body", 5),
    attributes("attributes", 6),
    uint32("droppedAttributesCount", 7),
    fixed32("flags", 8),
    loose_identity("traceId", 9, TRACE_ID_BYTES),
    loose_identity("spanId", 10, SPAN_ID_BYTES),
    text("eventName", 12),
)

RESOURCE_HEAD: Final = Message(message("resource", 1, RESOURCE), text("schemaUrl", 3))
"""What ``ResourceSpans`` and ``ResourceLogs`` say of themselves."""

SCOPE_HEAD: Final = Message(message("scope", 1, SCOPE, "instrumentationLibrary"), text("schemaUrl", 3))
"""What ``ScopeSpans`` and ``ScopeLogs`` say of themselves; before OTLP 0.15 the scope had another name."""
