"""The ledger of traces: partial sums from files, live chunks and corrections, merged into one row a trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Bools, Int64s, numbers
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.schema.tables import TRACES
from agenttrace_core.schema.traces import ADDED, OWNED, UNNAMED

_MOST, _LEAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


def merge_sums(tables: Sequence[pa.Table]) -> pa.Table:
    """Add up rows of ``TRACES`` of one project, in any order, and return one row a trace, by trace id.

    Rows with negative ``spans`` are corrections: they only take counts and tokens back. A trace
    of which no span is left is not in the result. ``first_row`` and ``rows`` are 0. Of names
    the earliest root's counts, else the earliest span's; among equals that of the last table, which
    is the likeliest to hold the version that counts. Of sessions and users that of the least rank counts.
    """
    ledger = pa.concat_tables(tables).combine_chunks() if tables else TRACES.empty_table()
    if len(ledger) == 0:
        return ledger
    hi, lo = numbers(ledger, "trace_hi"), numbers(ledger, "trace_lo")
    start, end = numbers(ledger, "start_ns"), numbers(ledger, "end_ns")
    told = numbers(ledger, "spans") > 0
    silent = ~(told & np.asarray(ledger["has_root"].chunk(0)))
    named = numbers(ledger, "named_ns")
    # Corrections last, then roots first, then the earliest: the first row of a trace is the one that names it.
    late = -np.arange(len(ledger))
    order = np.lexsort((late, named, silent, ~told, lo, hi))
    first = _group_starts(hi[order], lo[order])
    speaker = order[first]
    begun = np.minimum.reduceat(np.where(told, start, _MOST)[order], first)
    columns: dict[str, Any] = {
        "start_ns": begun,
        "end_ns": np.maximum(begun, np.maximum.reduceat(np.where(told, end, _LEAST)[order], first)),
        "received_ns": np.maximum.reduceat(np.where(told, numbers(ledger, "received_ns"), _LEAST)[order], first),
        "has_root": ~silent[speaker],
    }
    for name in ADDED:
        columns[name] = np.add.reduceat(numbers(ledger, name)[order], first)
    for name, rank in OWNED.items():
        columns[name], columns[rank] = _first_said(
            ledger, name, np.where(told, numbers(ledger, rank), UNNAMED), order, first
        )
    merged = _table(ledger.take(pa.array(speaker)), columns)
    return merged.filter(pa.array(columns["spans"] > 0))


def newest_first(sums: pa.Table) -> Int64s:
    """Return the order of a list of traces: descending by (start, trace id)."""
    keys = (numbers(sums, "trace_lo"), numbers(sums, "trace_hi"), numbers(sums, "start_ns"))
    return np.lexsort(keys)[::-1]


def below(sums: pa.Table, start_ns: int, trace_id: str) -> Bools:
    """Return which traces come after the place (``start_ns``, ``trace_id``) in a list."""
    start = numbers(sums, "start_ns")
    earlier: Bools = start < start_ns
    ids = [
        same and trace_id_of(int(hi), int(lo)) < trace_id
        for same, hi, lo in zip(start == start_ns, numbers(sums, "trace_hi"), numbers(sums, "trace_lo"), strict=True)
    ]
    return earlier | np.array(ids, np.bool_)


def _group_starts(hi: np.ndarray[Any, Any], lo: np.ndarray[Any, Any]) -> Int64s:
    changed = np.ones(len(hi), np.bool_)
    changed[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    return np.flatnonzero(changed)


def _first_said(ledger: pa.Table, name: str, ranks: Int64s, order: Int64s, first: Int64s) -> tuple[pa.Array, Int64s]:
    """Return the value of each trace's row of the least rank, and that rank; among equals that of the last row."""
    values = ledger[name].chunk(0)
    if values.null_count == len(values):
        return pa.nulls(len(first), values.type), np.full(len(first), UNNAMED)
    ranks = np.where(np.asarray(values.is_valid()), ranks, UNNAMED)[order]
    least = np.minimum.reduceat(ranks, first)
    is_least = (ranks != UNNAMED) & (ranks == np.repeat(least, np.diff(first, append=len(ranks))))
    said = np.maximum.reduceat(np.where(is_least, order, -1), first)
    return values.take(pa.array(said, mask=said < 0)), least


def _table(named: pa.Table, columns: dict[str, Any]) -> pa.Table:
    zeros = np.zeros(len(named), np.uint32)
    columns = columns | {"first_row": zeros, "rows": zeros}
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else named[f.name].combine_chunks() for f in TRACES
    ]
    return pa.table(arrays, schema=TRACES)
