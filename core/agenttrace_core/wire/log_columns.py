"""Queued GenAI log events into columns. They are few beside the spans, so this is plain Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from agenttrace_core.errors import CorruptionError
from agenttrace_core.ports.queue import Record
from agenttrace_core.schema.tables import LOGS
from agenttrace_core.wire import otlp

_Request = otlp.message_class("SlicedLogsRequest")
_LogRecord = otlp.message_class("LogRecord")


def decode_log_records(records: Sequence[Record]) -> pa.Table:
    """Decode records of signal ``logs`` into a table in the ``LOGS`` schema, in order of arrival.

    Raises:
        CorruptionError: a body does not parse.
    """
    try:
        rows = [row for record in records for row in _rows(record)]
    except DecodeError as error:
        raise CorruptionError(f"a queued logs request does not parse: {error}") from error
    return pa.Table.from_pylist(rows, schema=LOGS)


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    request: Any = _Request.FromString(record.body)
    position = 0
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for data in scope_logs.log_records:
                yield _row(record, position, resource_logs, scope_logs, data)
                position += 1


def _row(record: Record, position: int, resource_logs: Any, scope_logs: Any, data: bytes) -> dict[str, Any]:
    log: Any = _LogRecord.FromString(data)
    return {
        "project": record.headers.project,
        "trace_id": log.trace_id.hex() or None,
        "span_id": log.span_id.hex() or None,
        "event_name": _event_name(log) or None,
        "time_ns": min(log.time_unix_nano or log.observed_time_unix_nano, 2**63 - 1) or None,
        "record": data,
        "resource": resource_logs.resource,
        "resource_schema_url": resource_logs.schema_url,
        "scope_message": scope_logs.scope,
        "scope_schema_url": scope_logs.schema_url,
        "received_ns": record.headers.received_ns,
        "partition": record.position.partition,
        "offset": record.position.offset,
        "position": position,
    }


def _event_name(log: Any) -> str:
    """The record's event name: a field since OTLP 1.5, an attribute before."""
    name: bytes = log.event_name
    if not name:
        name = next((a.value.string_value for a in log.attributes if a.key == b"event.name"), b"")
    return name.decode("utf-8", "replace")
