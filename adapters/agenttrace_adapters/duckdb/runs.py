"""Runs of the ledger of traces, sorted by trace id, in which a trace is found by binary search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.trace import TracePosition
from agenttrace_core.query.sums import below, merge_sums, newest_first
from agenttrace_core.schema.arrays import Int64s, UInt64s, numbers

_EVERYTHING = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class TraceRun:
    """Rows of ``TRACES`` of one project from one file or live chunk.

    ``hi``, ``lo`` and ``start`` are sorted by trace id; ``order`` maps a place in them to a row
    of ``sums`` (None where they are the same). A trace may have several rows.
    """

    source: str
    sums: pa.Table
    hi: UInt64s
    lo: UInt64s
    start: Int64s
    order: Int64s | None
    min_start_ns: int
    max_start_ns: int

    @classmethod
    def of_sorted(cls, source: str, sums: pa.Table, min_start_ns: int, max_start_ns: int) -> TraceRun:
        """Wrap rows that are in order already, without reading them: they may be mapped."""
        hi, lo, start = (numbers(sums, name) for name in ("trace_hi", "trace_lo", "start_ns"))
        return cls(source, sums, hi, lo, start, None, min_start_ns, max_start_ns)

    @classmethod
    def of(cls, source: str, sums: pa.Table) -> TraceRun:
        """Sort rows (at least one) that are in any order."""
        hi, lo, start = (numbers(sums, name) for name in ("trace_hi", "trace_lo", "start_ns"))
        order = np.lexsort((lo, hi))
        return cls(source, sums, hi[order], lo[order], start[order], order, int(start.min()), int(start.max()))

    def rows_of(self, hi: np.uint64, lo: np.uint64, place: int) -> list[int]:
        """Return the rows of a trace, ``place`` being the first with its ``hi``."""
        found: list[int] = []
        while place < len(self.hi) and self.hi[place] == hi:
            if self.lo[place] == lo:
                found.append(place if self.order is None else int(self.order[place]))
            place += 1
        return found

    def select(self, hi: UInt64s, lo: UInt64s) -> pa.Table | None:
        """Return the rows of some traces, None if there are none."""
        left = self.hi.searchsorted(hi)
        right = self.hi.searchsorted(hi, side="right")
        counts = right - left
        if not counts.any():
            return None
        asked = np.repeat(np.arange(len(hi)), counts)
        place = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts) + left[asked]
        return self._take(place[self.lo[place] == lo[asked]])

    def between(self, least_ns: int, most_ns: int) -> tuple[UInt64s, UInt64s]:
        """Return the ids of rows whose start is in ``[least_ns, most_ns]``."""
        if self.max_start_ns < least_ns or self.min_start_ns > most_ns:
            return self.hi[:0], self.lo[:0]
        place = np.flatnonzero((self.start >= least_ns) & (self.start <= most_ns))
        return self.hi[place], self.lo[place]

    def newest_starts(self, count: int, most_ns: int) -> Int64s:
        """Return the ``count`` greatest starts that are at most ``most_ns``, in any order."""
        start = self.start if self.max_start_ns <= most_ns else self.start[self.start <= most_ns]
        return _greatest(start, count)

    def _take(self, place: Int64s) -> pa.Table:
        return self.sums.take(pa.array(place if self.order is None else self.order[place]))


def find(runs: Iterable[TraceRun], hi: np.uint64, lo: np.uint64) -> list[tuple[TraceRun, int]]:
    """Return every row of one trace, with the run that it is in."""
    found: list[tuple[TraceRun, int]] = []
    for run in runs:
        place = run.hi.searchsorted(hi)
        if place < len(run.hi) and run.hi[place] == hi:
            found += [(run, row) for row in run.rows_of(hi, lo, int(place))]
    return found


def sums_of(runs: Iterable[TraceRun], hi: UInt64s, lo: UInt64s) -> pa.Table:
    """Return one row a trace for those of the given traces that there are, summed over ``runs``."""
    return merge_sums([rows for run in runs if (rows := run.select(hi, lo)) is not None])


def newest(
    runs: Sequence[TraceRun], corrections: Sequence[TraceRun], limit: int, before: TracePosition | None
) -> pa.Table:
    """Return the newest ``limit`` traces below ``before``, reading of most runs only their bounds.

    A trace's place is that of its earliest row, which may lie in a run far older than the row by
    which it is found. So: find the threshold above which there are rows enough, look the traces
    of those rows up everywhere, and keep those whose true start is above the threshold too. What
    has not been seen starts below it. If too few are left, try a lower one.
    """
    most = np.iinfo(np.int64).max if before is None else before.start_ns
    within = sorted((r for r in runs if r.min_start_ns <= most), key=lambda r: r.max_start_ns, reverse=True)
    count = 2 * limit
    while True:
        least = _threshold(within, count, most)
        sums = _starting_between(within, [*runs, *corrections], least, most)
        if before is not None and len(sums):
            sums = sums.filter(pa.array(below(sums, before.start_ns, before.trace_id)))
        if len(sums) >= limit or least == _EVERYTHING:
            return sums.take(pa.array(newest_first(sums)[:limit]))
        count *= 4


def _threshold(runs: Sequence[TraceRun], count: int, most_ns: int) -> int:
    """Return the ``count``-th greatest start that is at most ``most_ns``; ``runs`` are newest first."""
    pool = np.zeros(0, np.int64)
    for run in runs:
        if len(pool) == count and pool.min() > run.max_start_ns:
            break
        pool = _greatest(np.concatenate([pool, run.newest_starts(count, most_ns)]), count)
    return int(pool.min()) if len(pool) == count else _EVERYTHING


def _starting_between(runs: Sequence[TraceRun], everywhere: Sequence[TraceRun], least: int, most: int) -> pa.Table:
    ids = [run.between(least, most) for run in runs]
    hi = np.concatenate([i[0] for i in ids]) if ids else np.zeros(0, np.uint64)
    lo = np.concatenate([i[1] for i in ids]) if ids else np.zeros(0, np.uint64)
    if len(hi):
        pairs = np.unique(np.stack([hi, lo], axis=1), axis=0)
        hi, lo = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    sums = sums_of(everywhere, hi, lo)
    return sums.filter(pc.greater_equal(sums["start_ns"], pa.scalar(least, pa.int64())))


def _greatest(values: Int64s, count: int) -> Int64s:
    if len(values) <= count:
        return values
    greatest: Int64s = np.partition(values, len(values) - count)[-count:]
    return greatest


def among(hi: UInt64s, lo: UInt64s, found_hi: UInt64s, found_lo: UInt64s) -> Int64s:
    """Return which of the ids are among the found ones."""
    both_hi, both_lo = np.concatenate([hi, found_hi]), np.concatenate([lo, found_lo])
    order = np.lexsort((both_lo, both_hi))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(both_hi[order]) != 0) | (np.diff(both_lo[order]) != 0)
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new) - 1
    is_found = np.zeros(len(order), np.bool_)
    is_found[group[len(hi) :]] = True
    return np.flatnonzero(is_found[group[: len(hi)]])
