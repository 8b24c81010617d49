"""Small OTLP logs requests of GenAI events, made by the tests themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


@dataclass(frozen=True)
class EventSpec:
    """An event as a test thinks of it; its time in nanoseconds."""

    name: str
    trace_id: bytes = b""
    span_id: bytes = b""
    time_ns: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    body: str = ""


def score(name: str, value: float | None, trace_id: bytes = b"", **more: Any) -> EventSpec:
    """An evaluation result; ``more`` are fields of ``EventSpec``, and ``label`` and ``id``."""
    said = {
        "gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": value,
        "gen_ai.evaluation.score.label": more.pop("label", None), "agenttrace.score.id": more.pop("id", None),
    }  # fmt: skip
    attributes = {key: item for key, item in said.items() if item is not None} | more.pop("attributes", {})
    return EventSpec("gen_ai.evaluation.result", trace_id, attributes=attributes, **more)


def logs_request(*events: EventSpec, scope: str = "tests", service: str = "svc") -> bytes:
    """Encode events as one ``ExportLogsServiceRequest``."""
    message = ExportLogsServiceRequest()
    resource_logs = message.resource_logs.add()
    resource_logs.resource.attributes.add(key="service.name").value.string_value = service
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = scope
    for event in events:
        record = scope_logs.log_records.add(
            event_name=event.name, trace_id=event.trace_id, span_id=event.span_id, time_unix_nano=event.time_ns
        )
        if event.body:
            record.body.string_value = event.body
        for key, item in event.attributes.items():
            value = record.attributes.add(key=key).value
            kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(item)]
            setattr(value, kind, item)
    return message.SerializeToString()
