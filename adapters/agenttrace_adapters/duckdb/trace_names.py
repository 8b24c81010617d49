"""The sessions and users of traces, for those of their spans that neither name one nor have an ancestor that does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_adapters.duckdb.runs import TraceRun, sums_of
from agenttrace_core.model.algebra import Column, Measure
from agenttrace_core.schema.arrays import UInt64s, numbers, whole
from agenttrace_core.schema.keys import hex_strings

NAMED = {"context_session_id": "session_id", "context_user_id": "user_id"}
"""The columns of ``LIGHT`` that are the trace's where they are null, and the trace's columns of ``TRACES``."""

TRACE_NAMES = pa.schema([("trace_id", pa.string()), ("session_id", pa.string()), ("user_id", pa.string())])

_FIELDS = {"session", "session_id", "user", "user_id"}


def asks_for_names(question: object) -> bool:
    """Say whether a question of the algebra is about sessions or users of spans."""
    if isinstance(question, Column):
        return question.name in _FIELDS
    if isinstance(question, Measure):
        return question in {Measure.USERS, Measure.SESSIONS}
    if isinstance(question, tuple):
        return any(map(asks_for_names, question))
    return is_dataclass(question) and any(asks_for_names(getattr(question, f.name)) for f in fields(question))


def trace_names(lacking: Iterable[TraceRun], everywhere: Sequence[TraceRun]) -> pa.Table:
    """Return the names (``TRACE_NAMES``) of traces that have some, and rows in ``lacking`` runs.

    ``everywhere`` are all runs and corrections of the ledger.
    """
    named = [keys for run in everywhere if (keys := _named(run.sums)) is not None]
    present = [np.stack([run.hi, run.lo], axis=1) for run in lacking]
    if not named or not present:
        return TRACE_NAMES.empty_table()
    wanted = np.intersect1d(_pairs(named), _pairs(present))
    hi, lo = np.ascontiguousarray(wanted["hi"]), np.ascontiguousarray(wanted["lo"])
    sums = sums_of(everywhere, hi, lo)
    ids = np.stack([numbers(sums, "trace_hi"), numbers(sums, "trace_lo")], axis=1).astype(">u8")
    columns = [hex_strings(ids.view(np.uint8).reshape(-1), 16), whole(sums["session_id"]), whole(sums["user_id"])]
    return pa.table(columns, schema=TRACE_NAMES)


def with_names(rows: pa.Table, names: pa.Table) -> pa.Table:
    """Return rows with ``trace_id`` in which sessions and users that are null are those of the traces."""
    at = pc.index_in(whole(rows["trace_id"]), value_set=whole(names["trace_id"]))
    for column, name in NAMED.items():
        if column in rows.column_names:
            place = rows.schema.get_field_index(column)
            said = pc.coalesce(whole(rows[column]), whole(names[name]).take(at))
            rows = rows.set_column(place, rows.schema.field(place), said)
    return rows


def _named(sums: pa.Table) -> UInt64s | None:
    said = [column for name in NAMED.values() if (column := whole(sums[name])).null_count < len(column)]
    if not said:
        return None
    valid = np.logical_or.reduce([np.asarray(column.is_valid()) for column in said])
    return np.stack([numbers(sums, "trace_hi")[valid], numbers(sums, "trace_lo")[valid]], axis=1)


def _pairs(keys: Sequence[UInt64s]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    joined = np.ascontiguousarray(np.concatenate(keys))
    return np.unique(joined.view([("hi", "u8"), ("lo", "u8")]).reshape(-1))
