"""A trace in plain JSON, for people without OpenTelemetry, into OTLP/JSON.

::

    {"service": "my-app",
     "spans": [{"name": "answer", "duration_ns": 2000000000, "attributes": {"user.id": "u1"},
                "children": [{"name": "chat gpt-4o", "kind": "client"}]}]}

Of a span only ``name`` must be given. Parents are told by ``children``, or by ``span_id`` and
``parent_span_id``. Ids that are not given are made, and a start that is not given is now.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.ids import parse_span_id, parse_trace_id
from agenttrace_core.schema.tables import KINDS, STATUSES

_TRACE_FIELDS = {"trace_id", "service", "attributes", "spans"}
_SPAN_FIELDS = {
    "name", "span_id", "parent_span_id", "kind", "start_ns", "end_ns", "duration_ns", "status", "status_message",
    "attributes", "events", "children",
}  # fmt: skip
_EVENT_FIELDS = {"name", "time_ns", "attributes"}
_INT64 = range(-(1 << 63), 1 << 63)


def is_simple(document: object) -> bool:
    """Say whether a JSON document is a trace in this form, rather than an OTLP request."""
    return isinstance(document, dict) and "spans" in document and "resourceSpans" not in document


def to_otlp(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the trace's id and the OTLP/JSON request.

    Raises:
        InvalidInputError: a field is unknown or wrong; the message names it.
    """
    _check_fields(document, _TRACE_FIELDS, "the trace")
    given = document.get("trace_id")
    trace_id = os.urandom(16).hex() if given is None else parse_trace_id(_text(given, "trace_id"))
    spans: list[dict[str, Any]] = []
    now = time.time_ns()
    waiting = [(span, None, f"spans[{i}]") for i, span in enumerate(_list(document.get("spans"), "spans"))]
    waiting.reverse()
    while waiting:
        item, parent, where = waiting.pop()
        span = _span(item, trace_id, parent, now, where)
        spans.append(span)
        children = _list(item.get("children", []), f"{where}.children")
        waiting += [(c, span["spanId"], f"{where}.children[{i}]") for i, c in reversed(list(enumerate(children)))]
    attributes = _attributes(document.get("attributes", {}), "attributes")
    if document.get("service") is not None:
        service = {"stringValue": _text(document["service"], "service")}
        attributes.insert(0, {"key": "service.name", "value": service})
    scopes = [{"scope": {"name": "agenttrace.simple"}, "spans": spans}]
    return trace_id, {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": scopes}]}


def _span(item: Any, trace_id: str, parent: str | None, now: int, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InvalidInputError(f"{where} must be an object")
    _check_fields(item, _SPAN_FIELDS, where)
    start = _integer(item.get("start_ns", now), f"{where}.start_ns")
    end = item.get("end_ns")
    if end is None:
        end = start + _integer(item.get("duration_ns", 0), f"{where}.duration_ns")
    span: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": _span_id(item.get("span_id"), f"{where}.span_id") or os.urandom(8).hex(),
        "name": _text(item.get("name"), f"{where}.name"),
        "kind": _one_of(KINDS, item.get("kind", "internal"), f"{where}.kind"),
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(_integer(end, f"{where}.end_ns")),
        "attributes": _attributes(item.get("attributes", {}), f"{where}.attributes"),
        "events": [
            _event(event, start, f"{where}.events[{i}]")
            for i, event in enumerate(_list(item.get("events", []), f"{where}.events"))
        ],
        "status": {"code": _one_of(STATUSES, item.get("status", "unset"), f"{where}.status")},
    }
    parent = _span_id(item.get("parent_span_id"), f"{where}.parent_span_id") or parent
    if parent is not None:
        span["parentSpanId"] = parent
    if item.get("status_message") is not None:
        span["status"]["message"] = _text(item["status_message"], f"{where}.status_message")
    return span


def _event(item: Any, start: int, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InvalidInputError(f"{where} must be an object")
    _check_fields(item, _EVENT_FIELDS, where)
    return {
        "name": _text(item.get("name"), f"{where}.name"),
        "timeUnixNano": str(_integer(item.get("time_ns", start), f"{where}.time_ns")),
        "attributes": _attributes(item.get("attributes", {}), f"{where}.attributes"),
    }


def _attributes(given: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(given, dict):
        raise InvalidInputError(f"{where} must be an object of names and values")
    try:
        return [{"key": key, "value": _value(value)} for key, value in given.items()]
    except RecursionError as error:
        raise InvalidInputError(f"{where} is nested too deeply") from error


def _value(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)} if value in _INT64 else {"stringValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
        case _:
            return {"kvlistValue": {"values": [{"key": k, "value": _value(v)} for k, v in value.items()]}}


def _check_fields(item: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(item.keys() - known)
    if unknown:
        raise InvalidInputError(f"{where}: unknown field {unknown[0][:80]!r}; known are {', '.join(sorted(known))}")


def _text(given: Any, where: str) -> str:
    if not isinstance(given, str):
        raise InvalidInputError(f"{where} must be text")
    return given


def _span_id(given: Any, where: str) -> str | None:
    return None if given is None else parse_span_id(_text(given, where))


def _integer(given: Any, where: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 1 << 63:
        raise InvalidInputError(f"{where} must be nanoseconds, an integer from 0 to 2**63-1")
    return given


def _list(given: Any, where: str) -> list[Any]:
    if not isinstance(given, list):
        raise InvalidInputError(f"{where} must be an array")
    return given


def _one_of(names: tuple[str, ...], given: Any, where: str) -> int:
    if given not in names:
        raise InvalidInputError(f"{where} must be one of {', '.join(names)}")
    return names.index(given)
