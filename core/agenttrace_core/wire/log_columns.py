"""Queued GenAI log events into columns. They are few beside the spans, so this is plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from google.protobuf.message import DecodeError

from agenttrace_core.errors import CorruptionError
from agenttrace_core.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from agenttrace_core.ports.queue import Record
from agenttrace_core.schema.tables import LOGS
from agenttrace_core.wire import otlp

EVALUATION: Final = "gen_ai.evaluation.result"
"""The event that scores are sent as."""

SCORE_ID: Final = "agenttrace.score.id"
SCORE_SOURCE: Final = "agenttrace.score.source"

_Request = otlp.message_class("SlicedLogsRequest")
_LogRecord = otlp.message_class("LogRecord")
_Scope = otlp.message_class("InstrumentationScope")
_Resource = otlp.message_class("Resource")

_NAME_LENGTH, _TEXT_LENGTH = 256, 4096
_MAX_INT64 = 2**63 - 1


def decode_log_records(records: Sequence[Record], *, offset_base: int = 0) -> pa.Table:
    """Decode records of signal ``logs`` into a table in the ``LOGS`` schema, in order of arrival.

    ``offset_base`` is added to the offsets of their records.

    Raises:
        CorruptionError: a body does not parse.
    """
    try:
        rows = [row for record in records for row in _rows(record, offset_base)]
    except DecodeError as error:
        raise CorruptionError(f"a queued logs request does not parse: {error}") from error
    return pa.Table.from_pylist(rows, schema=LOGS)


def _rows(record: Record, offset_base: int) -> Iterator[dict[str, Any]]:
    request: Any = _Request.FromString(record.body)
    position = 0
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for data in scope_logs.log_records:
                row = _row(record, position, resource_logs, scope_logs, data)
                yield row | {"offset": offset_base + record.position.offset}
                position += 1


def _row(record: Record, position: int, resource_logs: Any, scope_logs: Any, data: bytes) -> dict[str, Any]:
    log: Any = _LogRecord.FromString(data)
    said = {a.key: a.value for a in reversed(log.attributes)}  # of a key that is there twice the first counts
    name = _event_name(log)
    score = _score(said, scope_logs.scope, resource_logs.resource) if name == EVALUATION else {}
    return score | {
        "project": record.headers.project,
        "trace_id": _id(log.trace_id, TRACE_ID_BYTES),
        "span_id": _id(log.span_id, SPAN_ID_BYTES),
        "event_name": name or None,
        "time_ns": min(log.time_unix_nano or log.observed_time_unix_nano, _MAX_INT64) or None,
        "session_id": _text(said, b"gen_ai.conversation.id") or _text(said, b"session.id"),
        "response_id": _text(said, b"gen_ai.response.id"),
        "record": data,
        "resource": resource_logs.resource,
        "resource_schema_url": resource_logs.schema_url,
        "scope_message": scope_logs.scope,
        "scope_schema_url": scope_logs.schema_url,
        "received_ns": record.headers.received_ns,
        "partition": record.position.partition,
        "position": position,
    }


def _id(data: bytes, size: int) -> str | None:
    """An id in hex; None where there is none, or what is there has another length."""
    return data.hex() if len(data) == size and any(data) else None


def _event_name(log: Any) -> str:
    """The record's event name: a field since OTLP 1.5, an attribute before."""
    name: bytes = log.event_name
    if not name:
        name = next((a.value.string_value for a in log.attributes if a.key == b"event.name"), b"")
    return name.decode("utf-8", "replace")


def _score(said: Mapping[bytes, Any], scope: bytes, resource: bytes) -> dict[str, Any]:
    """What an evaluation result says; nothing where it has no name to be asked by."""
    name = _text(said, b"gen_ai.evaluation.name")
    if name is None:
        return {}
    return {
        "score_name": name,
        "score_value": _number(said.get(b"gen_ai.evaluation.score.value")),
        "score_label": _text(said, b"gen_ai.evaluation.score.label"),
        "score_explanation": _text(said, b"gen_ai.evaluation.explanation", _TEXT_LENGTH),
        "score_source": _text(said, SCORE_SOURCE.encode()) or _sender(scope, resource),
        "score_id": _text(said, SCORE_ID.encode()),
    }


def _text(said: Mapping[bytes, Any], key: bytes, length: int = _NAME_LENGTH) -> str | None:
    value = said.get(key)
    if value is None:
        return None
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value.decode("utf-8", "replace")[:length] or None
    return str(getattr(value, kind)) if kind in {"int_value", "double_value"} else None


def _number(value: Any) -> float | None:
    """A finite number, also where it came as text; true is 1 and false 0."""
    kind = None if value is None else value.WhichOneof("value")
    if kind not in {"double_value", "int_value", "bool_value", "string_value"}:
        return None
    try:
        number = float(getattr(value, kind))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _sender(scope: bytes, resource: bytes) -> str | None:
    """Who sent it: the scope's name, else the service's."""
    named: Any = _Scope.FromString(scope)
    if named.name:
        return str(named.name.decode("utf-8", "replace"))[:_NAME_LENGTH]
    sent_by: Any = _Resource.FromString(resource)
    return _text({a.key: a.value for a in sent_by.attributes}, b"service.name")
