"""The newest traces that satisfy a predicate, without looking at older ones.

A trace that starts at or after a moment has all its rows at or after it. So parts are asked from the newest
down; when all that reach beyond a moment have been, every trace that starts after it can be judged, and if
enough of them are as asked, nothing older is read. What a trace is asked of its spans is a bit a scan; the bits
of those traces that cross the moment wait for the parts below it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pyarrow as pa
from anyio import to_thread

from agenttrace_adapters.duckdb.judge import Judge
from agenttrace_adapters.duckdb.parts import Part
from agenttrace_adapters.duckdb.runs import TraceRun, among, sums_of
from agenttrace_adapters.duckdb.scan import Entries, Scanner
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_core.model.algebra import TraceSearch
from agenttrace_core.query.sums import below, newest_first
from agenttrace_core.schema.arrays import Bools, Int64s, numbers
from agenttrace_core.schema.tables import TRACES

EARLIEST, LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max

FIRST_ROWS = 1 << 16
"""Rows of the first slice; each has four times as many as the one before."""
_MANY = 4_000
"""Traces looked up one by one before all are added up at once."""
_INLINE_TRACES = 500

Exact = Callable[[pa.Table], Awaitable[Bools]]
"""Says of traces, given by their sums, which satisfy the predicate, whatever has to be read for it."""


class TooMany(Exception):  # noqa: N818 - an answer to the caller, which knows another way
    """So many traces were looked up in vain that looking at all of them at once is quicker."""


class NewestFirst:
    """One search by start, descending.

    Args:
        search: what is asked.
        judge: of ``search.where``.
        scanner: asks parts.
        parts: of the project, newest first.
        ledger: all runs and corrections, of which the sums of a trace are added up.
        exact: decides what bits and sums cannot.
    """

    def __init__(
        self,
        search: TraceSearch,
        judge: Judge,
        scanner: Scanner,
        parts: Sequence[Part],
        ledger: Sequence[TraceRun],
        exact: Exact,
    ) -> None:
        self._search, self._judge, self._scanner, self._ledger, self._exact = search, judge, scanner, ledger, exact
        self._least, self._most = bounds(search)
        self._parts = [part for part in parts if part.max_start_ns >= self._least]
        self._found: list[pa.Table] = []
        self._examined = 0

    async def run(self, sql: SqlRunner) -> pa.Table:
        """Return the traces, at most as many as were asked for.

        Raises:
            TooMany: there is a quicker way.
        """
        near = [part for part in self._parts if part.min_start_ns <= self._most]
        later = [part for part in self._parts if part.min_start_ns > self._most]
        pool = await self._of_later(sql, later, near)
        asked, rows = 0, FIRST_ROWS
        while True:
            slice_ = first_parts(near[asked:], rows)
            asked, rows = asked + len(slice_), rows * 4
            pool = pool.joined(await self._scanner.entries(slice_)).by_trace()
            certain = near[asked].max_start_ns + 1 if asked < len(near) else EARLIEST
            pool = await self._decide(pool, certain)
            if self._count() >= self._search.limit or asked == len(near):
                return self._answer()

    async def _of_later(self, sql: SqlRunner, later: Sequence[Part], near: Sequence[Part]) -> Entries:
        """Return what is known of traces that begin in ``near`` from parts that are all later than what is asked."""
        words = self._judge.words
        if not later or not near:
            return Entries.of([], words)
        crossing = await crossing_traces(sql, later, near)
        touched = [part for part, _ in crossing]
        entries = await self._scanner.entries(touched)
        ids = Entries.of([(part, np.zeros((len(part.hi), words), np.uint64), place) for part, place in crossing], words)
        return entries.take(among(entries.hi, entries.lo, ids.hi, ids.lo))

    async def _decide(self, pool: Entries, certain: int) -> Entries:
        """Judge the traces that start at ``certain`` or later, and return what is known of the others."""
        possible = self._judge.verdict(pool.bits, None).possible
        order = np.flatnonzero(possible & (pool.start >= max(certain, self._least)))
        order = order[np.argsort(pool.start[order])[::-1]]
        open_ = pool.start >= self._least
        done, size = 0, 2 * self._search.limit
        while done < len(order) and not self._is_full(int(pool.start[order[done]])):
            batch = pool.take(order[done : done + size])
            decided = await self._judge_traces(batch, certain)
            open_[order[done : done + size][decided]] = False
            done, size = done + len(batch.hi), size * 2
        return pool.take(np.flatnonzero(open_))

    async def _judge_traces(self, batch: Entries, certain: int) -> Bools:
        """Look traces up, keep those that are as asked, and return which of them are decided."""
        self._examined += len(batch.hi)
        if self._examined > _MANY:
            raise TooMany
        order = np.lexsort((batch.lo, batch.hi))
        batch = batch.take(order)
        sums = await lookup(self._ledger, batch)
        place = _places(batch, sums)
        decided = np.ones(len(batch.hi), np.bool_)
        decided[place] = numbers(sums, "start_ns") >= certain
        judged = self._judge.verdict(batch.bits[place], sums)
        wanted = judged.possible & within(self._search, sums) & decided[place]
        unsure = np.flatnonzero(wanted & ~judged.sure)
        if len(unsure):
            wanted[unsure] = await self._exact(sums.take(pa.array(unsure)))
        self._found.append(sums.filter(pa.array(wanted)))
        result = np.empty(len(decided), np.bool_)
        result[order] = decided
        return result

    def _is_full(self, bound: int) -> bool:
        """Whether there is enough of what starts after ``bound``."""
        return sum(int(np.count_nonzero(numbers(t, "start_ns") > bound)) for t in self._found) >= self._search.limit

    def _count(self) -> int:
        return sum(map(len, self._found))

    def _answer(self) -> pa.Table:
        found = pa.concat_tables([TRACES.empty_table(), *self._found])
        return found.take(pa.array(newest_first(found)[: self._search.limit]))


def bounds(search: TraceSearch) -> tuple[int, int]:
    """Return the least and the greatest start that a trace of the answer can have."""
    during, after = search.during, search.after
    least = EARLIEST if during.start_ns is None else during.start_ns
    most = LATEST if during.end_ns is None else during.end_ns - 1
    return least, most if after is None else min(most, after[1])


def within(search: TraceSearch, sums: pa.Table) -> Bools:
    """Return which traces lie within the interval, and below the place from where the list goes on by start."""
    least, most = bounds(search)
    start = numbers(sums, "start_ns")
    inside: Bools = (start >= least) & (start <= most)
    return inside if search.after is None else inside & below(sums, search.after[1], search.after[2])


async def lookup(ledger: Sequence[TraceRun], traces: Entries) -> pa.Table:
    """Return the sums of some traces, by trace id; those that are in corrections alone are left out."""
    if len(traces.hi) <= _INLINE_TRACES:
        return sums_of(ledger, traces.hi, traces.lo)
    return await to_thread.run_sync(sums_of, ledger, traces.hi, traces.lo)


async def crossing_traces(sql: SqlRunner, later: Sequence[Part], near: Sequence[Part]) -> list[tuple[Part, Int64s]]:
    """Return the traces of ``later`` parts that are in ``near`` parts too, where there are any."""
    found = await sql.ask(
        "SELECT part, place FROM later SEMI JOIN near USING (hi, lo) ORDER BY part, place",
        {},
        {"later": _ids(later), "near": _ids(near).select(["hi", "lo"])},
    )
    part, place = (found[name].to_numpy() for name in ("part", "place"))
    ends = np.searchsorted(part, np.arange(len(later) + 1))
    return [(later[i], place[ends[i] : ends[i + 1]]) for i in range(len(later)) if ends[i + 1] > ends[i]]


def _ids(parts: Sequence[Part]) -> pa.Table:
    return pa.table({
        "part": pa.chunked_array([pa.repeat(pa.scalar(i, pa.int64()), len(p.hi)) for i, p in enumerate(parts)]),
        "place": pa.chunked_array([pa.array(np.arange(len(p.hi))) for p in parts]),
        "hi": pa.chunked_array([pa.array(p.hi) for p in parts]),
        "lo": pa.chunked_array([pa.array(p.lo) for p in parts]),
    })  # fmt: skip


def first_parts(parts: Sequence[Part], rows: int) -> list[Part]:
    """Return the first parts that have so many rows together, or all."""
    taken: list[Part] = []
    for part in parts:
        if rows <= 0:
            break
        taken.append(part)
        rows -= part.rows
    return taken


def _places(batch: Entries, sums: pa.Table) -> Int64s:
    """Return where in ``batch``, which is in order of ids, the traces of ``sums`` are, which is so too."""
    return among(batch.hi, batch.lo, numbers(sums, "trace_hi"), numbers(sums, "trace_lo"))
