"""The log events of a trace's spans, in order, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_core.messages.content import span_content
from agenttrace_core.normalise.previews import preview_of, said_by, said_to, shortened
from agenttrace_core.ports.index import LogQueries, View
from agenttrace_core.schema.arrays import whole
from agenttrace_core.schema.log_files import event_times
from agenttrace_core.wire.log_columns import EVALUATION
from agenttrace_core.wire.message import Json
from agenttrace_core.wire.otlp_messages import LOG_RECORD, SCOPE

EXCEPTION = "gen_ai.client.operation.exception"

_COLUMNS = (
    "span_id", "event_name", "time_ns", "received_ns", "partition", "offset", "position", "record", "scope_message",
)  # fmt: skip
TOLD = ("input_preview", "output_preview", "error_type")
"""The columns of light rows that log events may fill."""

_MOST_FILLED = 2_000
_MOST_RECORDS = 5_000
"""Log records of a trace that are read for its page; of one with more, each span tells its own."""

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
    return [event for _, event in _in_order(rows.filter(pc.and_(own, told)))]


async def with_told(logs: LogQueries, view: View, project: str, trace_id: str, rows: pa.Table) -> pa.Table:
    """Return light rows of a trace with the previews, and the error's type, that only its log events tell.

    What a row says itself stays.
    """
    names = ("span_id", "event_name")
    heads = await logs.log_records(view, project, [trace_id], columns=names)
    if (
        not 0 < len(heads) <= _MOST_RECORDS
        or pc.all(pc.equal(heads["event_name"], pa.scalar(EVALUATION, pa.string()))).as_py()
    ):
        return rows
    records = await logs.log_records(view, project, [trace_id], columns=_COLUMNS)
    records = records.filter(records["span_id"].is_valid())
    return await to_thread.run_sync(_filled, rows, records)


def _filled(rows: pa.Table, records: pa.Table) -> pa.Table:
    lacking = _lacking(rows)
    wanted = pa.array(list(lacking), pa.string())
    told: dict[str, list[LogEvent]] = {}
    for span_id, event in _in_order(records.filter(pc.is_in(records["span_id"], value_set=wanted))):
        told.setdefault(span_id, []).append(event)
    columns = {name: rows[name].to_pylist() for name in TOLD}
    for span_id, events in told.items():
        for name, text in zip(TOLD, _said(events), strict=True):
            for row in lacking[span_id]:
                columns[name][row] = columns[name][row] or text
    for name in TOLD:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), pa.array(columns[name], pa.string()))
    return rows


def _lacking(rows: pa.Table) -> dict[str, list[int]]:
    """The rows that lack something that events may tell, by span id; the first of a long trace."""
    missing = np.logical_or.reduce([np.asarray(whole(rows[name].is_null())) for name in TOLD])
    found: dict[str, list[int]] = {}
    for row in np.flatnonzero(missing)[:_MOST_FILLED].tolist():
        found.setdefault(rows["span_id"][row].as_py(), []).append(row)
    return found


def _said(events: Sequence[LogEvent]) -> tuple[str | None, str | None, str | None]:
    """What events tell of a span: the previews of its input and output, and the type of its error."""
    content = span_content({}, events=[event.record for event in events])
    pieces = [preview_of(content.input_messages, said_to), preview_of(content.output_messages, said_by)]
    texts = shortened(pa.array(pieces, pa.binary()), np.zeros(2, np.uint16)).to_pylist()
    return texts[0], texts[1], error_type_of(events)


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


def _in_order(rows: pa.Table) -> list[tuple[str, LogEvent]]:
    """Events by time, each once, with the ids of their spans."""
    time = event_times(rows)
    order = np.lexsort([*(whole(rows[name]).to_numpy() for name in _ARRIVAL), time])
    once: dict[tuple[bytes, bytes], tuple[str, LogEvent]] = {}
    for i, row in zip(order, rows.take(pa.array(order)).to_pylist(), strict=True):
        key = (row["record"], row["scope_message"])
        if key not in once:
            once[key] = (row["span_id"], _event(row, int(time[i])))
    return list(once.values())


def _event(row: Mapping[str, Any], time_ns: int) -> LogEvent:
    scope = SCOPE.decode(row["scope_message"]).get("name", "")
    return LogEvent(row["event_name"] or "", time_ns, LOG_RECORD.decode(row["record"]), scope)
