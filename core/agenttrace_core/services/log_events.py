"""The log events of a trace's spans, in order, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.ports.index import LogQueries, View
from agenttrace_core.schema.arrays import whole
from agenttrace_core.schema.log_files import event_times
from agenttrace_core.wire.log_columns import EVALUATION
from agenttrace_core.wire.message import Json
from agenttrace_core.wire.otlp_messages import LOG_RECORD, SCOPE

EXCEPTION = "gen_ai.client.operation.exception"

_COLUMNS = (
    "span_id",
    "event_name",
    "time_ns",
    "received_ns",
    "partition",
    "offset",
    "position",
    "record",
    "scope_message",
)
_ARRIVAL = ("position", "offset", "partition")


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A log record as OTLP/JSON, its name and time, and the name of the scope that sent it."""

    name: str
    time_ns: int
    record: Json
    scope: str


async def events_of_span(index: LogQueries, view: View, project: str, trace_id: str, span_id: str) -> list[LogEvent]:
    """Return the log events that name a span, in order of time, but for evaluation results, which are scores.

    A record that was sent twice is told once.
    """
    rows = await index.log_records(view, project, [trace_id], columns=_COLUMNS)
    own = pc.equal(rows["span_id"], pa.scalar(span_id, pa.string()))
    told = pc.not_equal(rows["event_name"], pa.scalar(EVALUATION, pa.string()))
    return _in_order(rows.filter(pc.and_(own, told)))


def error_type_of(events: Sequence[LogEvent]) -> str | None:
    """Return the type of the first exception that events tell of, None if they tell of none."""
    for event in events:
        if event.name == EXCEPTION:
            said = {pair.get("key"): pair.get("value", {}) for pair in event.record.get("attributes", ())}
            for key in ("exception.type", "error.type"):
                text = said.get(key, {}).get("stringValue")
                if text:
                    return str(text)
    return None


def _in_order(rows: pa.Table) -> list[LogEvent]:
    time = event_times(rows)
    order = np.lexsort([*(whole(rows[name]).to_numpy() for name in _ARRIVAL), time])
    once: dict[tuple[bytes, bytes], LogEvent] = {}
    for i, row in zip(order, rows.take(pa.array(order)).to_pylist(), strict=True):
        key = (row["record"], row["scope_message"])
        if key not in once:
            once[key] = _event(row, int(time[i]))
    return list(once.values())


def _event(row: Mapping[str, Any], time_ns: int) -> LogEvent:
    scope = SCOPE.decode(row["scope_message"]).get("name", "")
    return LogEvent(row["event_name"] or "", time_ns, LOG_RECORD.decode(row["record"]), scope)
