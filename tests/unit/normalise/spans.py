"""Spans made for a test: attributes as Python values in, rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from agenttrace_core.ports.queue import Headers, Position, Record, Signal
from agenttrace_core.wire import otlp
from agenttrace_core.wire.any_value import encode_any_value
from agenttrace_core.wire.columns import decode_records
from agenttrace_core.wire.utf8 import bytes_of

NOW = 1_790_000_000_000_000_000
TRACE, SPAN = b"t" * 16, b"s" * 8


def any_value(value: Any) -> dict[str, Any]:
    """Return a Python value as OTLP/JSON's ``AnyValue``."""
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": k, "value": any_value(v)} for k, v in value.items()]}}
    if value is None:
        return {}
    name = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(value)]
    return {name: str(value) if name == "intValue" else value}


def fill(attributes: Any, given: Mapping[str, Any]) -> None:
    """Add ``given`` to the attributes of a protobuf message."""
    for key, value in given.items():
        attributes.add(key=key.encode()).value.ParseFromString(encode_any_value(any_value(value)))


def span_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a span that are the same in all tests, but for those given."""
    return {"trace_id": TRACE, "span_id": SPAN, "start_time_unix_nano": NOW, "end_time_unix_nano": NOW + 5, **given}


def rows_of(cases: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Send one span a case, all in one request, and return their rows in order.

    A case has ``attributes``, and may have ``name``, ``scope``, ``resource`` (its attributes),
    ``status`` and ``status_message``, ``span_id`` and ``parent_span_id`` (bytes), and ``events``: each
    with ``name``, ``after_ns`` and ``attributes``.
    """
    request: Any = otlp.message_class("Request")()
    for case in cases:
        of_resource = request.resource_spans.add()
        fill(of_resource.resource.attributes, case.get("resource", {}))
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.name = bytes_of(case.get("scope", ""))
        ids = {name: case[name] for name in ("span_id", "parent_span_id") if name in case}
        span = of_scope.spans.add(**span_fields({"name": bytes_of(case.get("name", "")), **ids}))
        span.status.code = case.get("status", 0)
        span.status.message = bytes_of(case.get("status_message", ""))
        fill(span.attributes, case.get("attributes", {}))
        for event in case.get("events", ()):
            at = NOW + event.get("after_ns", 0)
            fill(
                span.events.add(name=event["name"].encode(), time_unix_nano=at).attributes, event.get("attributes", {})
            )
    body = request.SerializeToString()
    return decode_records([Record(Position(0, 0, len(body)), Headers("default", Signal.TRACES, NOW), body)])
