"""Sums over the spans of each trace: the rows of a traces object, and of a list of traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.segment import WINDOW_NS
from agenttrace_core.model.span import UNENDED, Quality
from agenttrace_core.schema.arrays import Int64s, UInt64s, numbers, whole
from agenttrace_core.schema.keys import words_of_hex
from agenttrace_core.schema.tables import TRACES
from agenttrace_core.schema.usage import Usage

SUMMED_COLUMNS = (
    "parent_span_id", "name", "service", "start_ns", "duration_ns", "status", "session_id", "user_id",
    "input_tokens", "output_tokens", "cost_usd", "counted", "quality", "received_ns",
)  # fmt: skip
"""What sums are made of, besides the columns of ``RowKeys``."""

ADDED = ("spans", "errors", "input_tokens", "output_tokens", "cost_pico_usd", "unpriced", "running")
"""The columns of ``TRACES`` that add up, and are negative in corrections."""

NO_END = np.iinfo(np.int64).min // 2
"""``end_ns`` where no span has a start; the difference to any time fits into an int64."""

OWNED = {"session_id": "session_rank", "user_id": "user_rank"}
"""What a trace belongs to, and the columns that say which of several rows of ``TRACES`` knows it."""

UNNAMED = np.iinfo(np.int64).max
"""The rank where no span names one."""

_NO_SPAN = np.iinfo(np.int64).max
_ROOTS = np.iinfo(np.int64).min
_ERROR = pa.scalar("error", pa.string())
_UNPLACED = np.uint16(Quality.NO_START | Quality.ABSURD_START)


@dataclass(frozen=True, slots=True)
class RowKeys:
    """What rows are sorted by: project (as a rank among those present), window, trace id, start.

    ``start`` is the span's start, or where it gave none, when it was received.
    """

    projects: tuple[str, ...]
    project: Int64s
    window: Int64s
    trace: UInt64s
    start: Int64s

    @classmethod
    def of(cls, rows: pa.Table) -> RowKeys:
        """Read the keys of rows that hold the columns of ``LIGHT``."""
        encoded = whole(rows["project"]).dictionary_encode()
        projects: list[str] = encoded.dictionary.to_pylist()
        rank = np.argsort(np.argsort(projects)) if projects else np.zeros(0, np.int64)
        start = pc.coalesce(whole(rows["start_ns"]), whole(rows["received_ns"])).to_numpy()
        unplaced = (whole(rows["quality"]).to_numpy() & _UNPLACED) != 0
        placed = np.where(unplaced, whole(rows["received_ns"]).to_numpy(), start)
        return cls(
            projects=tuple(sorted(projects)),
            project=rank[encoded.indices.to_numpy()].astype(np.int64),
            window=placed - placed % WINDOW_NS,
            trace=words_of_hex(whole(rows["trace_id"]), 16),
            start=start,
        )

    def order(self) -> Int64s:
        """Return the row numbers in the order of a segment file."""
        keys = [self.start, self.trace[:, 1], self.trace[:, 0]]
        keys += [key for key in (self.window, self.project) if len(key) and (key != key[0]).any()]
        return np.lexsort(keys)

    def take(self, order: Int64s) -> RowKeys:
        """Return the keys of the rows in another order."""
        return RowKeys(self.projects, self.project[order], self.window[order], self.trace[order], self.start[order])

    def segment_starts(self) -> Int64s:
        """Return where, in ordered rows, a new project or window begins."""
        return _changes(self.project, self.window)

    def trace_starts(self) -> Int64s:
        """Return where, in ordered rows, a new trace (or project, or window) begins."""
        return _changes(self.project, self.window, self.trace[:, 0], self.trace[:, 1])


def trace_sums(rows: pa.Table) -> pa.Table:
    """Return one row of ``TRACES`` for each trace, project and window among ``rows``, in file order.

    ``rows`` holds the columns of ``LIGHT``, in any order; ``first_row`` and ``rows`` of the result are 0.
    """
    keys = RowKeys.of(rows)
    order = keys.order()
    sums = sums_of_ordered(rows.select(SUMMED_COLUMNS).take(pa.array(order)), keys.take(order))
    zeros = pa.array(np.zeros(len(sums), np.uint32))
    return _with(sums, first_row=zeros, rows=zeros)


def sums_of_ordered(rows: pa.Table, keys: RowKeys) -> pa.Table:
    """The same for rows that are in the order of a file, with ``first_row`` and ``rows`` set."""
    first = keys.trace_starts()
    if len(first) == 0:
        return TRACES.empty_table()
    speaker, has_root = _speakers(rows, first)
    duration = np.maximum(whole(rows["duration_ns"]).fill_null(0).to_numpy(), 0)
    # Sums of two int64 times may leave int64; the year 2262 is as far as a file knows.
    end = keys.start + np.minimum(duration, np.iinfo(np.int64).max - np.maximum(keys.start, 0))
    # A span without a start stands where it was received, which says nothing of how long its trace took.
    end = np.where(np.asarray(whole(rows["start_ns"]).is_valid()), end, NO_END)
    errors = np.asarray(pc.equal(whole(rows["status"]), _ERROR)).astype(np.int32)
    running = ((numbers(rows, "quality") & np.uint16(UNENDED)) != 0).astype(np.int32)
    usage = Usage.of(rows)
    named = pa.array(speaker)
    owners: dict[str, pa.Array] = {}
    for name, rank in OWNED.items():
        owners[name], owners[rank] = _first_said(rows, name, first, keys.start)
    columns = {
        "project": pa.array(keys.projects, pa.string()).take(pa.array(keys.project[first])),
        "trace_hi": pa.array(keys.trace[first, 0]),
        "trace_lo": pa.array(keys.trace[first, 1]),
        "first_row": pa.array(first.astype(np.uint32)),
        "rows": pa.array(np.diff(first, append=len(rows)).astype(np.uint32)),
        "start_ns": pa.array(keys.start[first]),
        "end_ns": pa.array(np.maximum.reduceat(end, first)),
        "spans": pa.array(np.diff(first, append=len(rows)).astype(np.int32)),
        "errors": pa.array(np.add.reduceat(errors, first)),
        "input_tokens": pa.array(np.add.reduceat(usage.input_tokens, first)),
        "output_tokens": pa.array(np.add.reduceat(usage.output_tokens, first)),
        "cost_pico_usd": pa.array(np.add.reduceat(usage.cost_pico_usd, first)),
        "unpriced": pa.array(np.add.reduceat(usage.unpriced.astype(np.int32), first)),
        "running": pa.array(np.add.reduceat(running, first)),
        "received_ns": pa.array(np.maximum.reduceat(numbers(rows, "received_ns"), first)),
        "has_root": pa.array(has_root),
        "name": whole(rows["name"]).take(named),
        "named_ns": pa.array(keys.start[speaker]),
        "service": whole(rows["service"]).take(named),
    } | owners
    return pa.table([columns[f.name] for f in TRACES], schema=TRACES)


def negated(sums: pa.Table) -> pa.Table:
    """Return a table of ``TRACES`` that takes the sums of ``sums`` back: counts and tokens with the other sign."""
    zeros = pa.array(np.zeros(len(sums), np.uint32))
    return _with(sums, first_row=zeros, rows=zeros, **{name: pc.negate(whole(sums[name])) for name in ADDED})


def ranks_of(values: pa.Array, parents: pa.Array, start: Int64s) -> Int64s:
    """Rank the spans that name a value: roots before all others, then by start. The least of a trace counts.

    It is a number, so that rows about parts of a trace can be put together in any order: not all of them
    need have the root. Times before 1970 are as good as that.
    """
    since = np.maximum(start, 0)
    ranks = np.where(np.asarray(parents.is_null()), since + _ROOTS, since)
    return np.where(np.asarray(values.is_valid()), ranks, UNNAMED)


def _speakers(rows: pa.Table, first: Int64s) -> tuple[Int64s, np.ndarray[Any, np.dtype[np.bool_]]]:
    """For each trace, the row that names it (its earliest root, else its earliest span), and whether it is a root."""
    is_root = np.asarray(whole(rows["parent_span_id"]).is_null())
    root = np.minimum.reduceat(np.where(is_root, np.arange(len(rows)), _NO_SPAN), first)
    has_root = root != _NO_SPAN
    return np.where(has_root, root, first), has_root


def _first_said(rows: pa.Table, name: str, first: Int64s, start: Int64s) -> tuple[pa.Array, pa.Array]:
    """Return, of each trace, whom it belongs to, and the rank of the span that says so."""
    values = whole(rows[name])
    if values.null_count == len(values):
        return pa.nulls(len(first), values.type), pa.array(np.full(len(first), UNNAMED))
    ranks = ranks_of(values, whole(rows["parent_span_id"]), start)
    least = np.minimum.reduceat(ranks, first)
    is_least = (ranks != UNNAMED) & (ranks == np.repeat(least, np.diff(first, append=len(ranks))))
    said = np.minimum.reduceat(np.where(is_least, np.arange(len(ranks)), _NO_SPAN), first)
    return values.take(pa.array(said, mask=said == _NO_SPAN)), pa.array(least)


def _changes(*keys: np.ndarray[Any, Any]) -> Int64s:
    count = len(keys[0])
    new = np.zeros(count, np.bool_)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def _with(table: pa.Table, **columns: pa.Array) -> pa.Table:
    return pa.table([columns.get(name, table[name]) for name in table.column_names], schema=table.schema)
