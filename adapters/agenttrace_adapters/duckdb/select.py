"""The newest spans of a selection, without looking at older ones.

Parts are asked from the newest down; when all that reach beyond a moment have been, the spans that start
after it are known, and their order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_adapters.duckdb.masks import Masks, RowScanner
from agenttrace_adapters.duckdb.parts import Part
from agenttrace_adapters.duckdb.predicates import is_decided
from agenttrace_adapters.duckdb.scored import Fetch
from agenttrace_adapters.duckdb.search import EARLIEST, FIRST_ROWS, LATEST, first_parts
from agenttrace_core.model.algebra import EVERY_TRACE, Selection
from agenttrace_core.query.evaluate import needed_columns
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.tables import LIGHT

PLACE_COLUMNS = ("start_ns", "received_ns", "trace_id", "span_id")


@dataclass(frozen=True, slots=True)
class Checks:
    """What decides about rows beyond their light columns.

    Attributes:
        counting: takes rows that do not count out of masks.
        rows: says which light rows, given with their ``LOCATION``, satisfy the span predicate.
        traces: says which trace ids satisfy the trace predicate.
    """

    counting: Callable[[Masks], Masks]
    rows: Callable[[pa.Table], Awaitable[Bools]]
    traces: Callable[[Sequence[str]], Awaitable[set[str]]]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of parts, by the part's place in the list of parts. ``sure`` are those that surely satisfy."""

    part: Int64s
    row: Int64s
    start: Int64s
    sure: Bools

    def take(self, chosen: Int64s) -> _Rows:
        return _Rows(self.part[chosen], self.row[chosen], self.start[chosen], self.sure[chosen])


class NewestSpans:
    """One selection, newest first by (start, trace id, span id).

    Args:
        selection: what is asked.
        after: the place after which to begin.
        parts: of the project, newest first.
        scanner: asks rows.
        fetch: reads rows.
        checks: decides about them.
    """

    def __init__(
        self,
        selection: Selection,
        after: tuple[int, str, str] | None,
        parts: Sequence[Part],
        scanner: RowScanner,
        fetch: Fetch,
        checks: Checks,
    ) -> None:
        self._selection, self._after, self._scanner, self._fetch, self._checks = (
            selection, after, scanner, fetch, checks,
        )  # fmt: skip
        during = selection.during
        self._least = EARLIEST if during.start_ns is None else during.start_ns
        most = LATEST if during.end_ns is None else during.end_ns - 1
        self._most = most if after is None else min(most, after[0])
        self._parts = [p for p in parts if p.max_start_ns >= self._least and p.min_start_ns <= self._most]
        self._traces: dict[str, bool] = {}

    async def run(self, limit: int) -> list[tuple[Part, int]]:
        """Return where the spans are, in order."""
        found: list[tuple[Part, int]] = []
        waiting: list[_Rows] = []
        asked, rows = 0, FIRST_ROWS
        while asked < len(self._parts) and len(found) < limit:
            slice_ = first_parts(self._parts[asked:], rows)
            waiting += await self._satisfying(asked, slice_)
            asked, rows = asked + len(slice_), rows * 4
            certain = self._parts[asked].max_start_ns + 1 if asked < len(self._parts) else EARLIEST
            pool = _joined(waiting)
            now = np.flatnonzero(pool.start >= certain)
            found += await self._in_order(pool.take(now), limit - len(found))
            waiting = [pool.take(np.flatnonzero(pool.start < certain))]
        return found

    async def _satisfying(self, first: int, parts: Sequence[Part]) -> list[_Rows]:
        predicate = self._selection.spans
        possible = self._checks.counting(await self._scanner.satisfying(parts, predicate, undecided=True))
        is_sure = is_decided(predicate)
        sure = possible if is_sure else await self._scanner.satisfying(parts, predicate, undecided=False)
        found: list[_Rows] = []
        for i, part in enumerate(parts):
            if part in possible and possible[part].any():
                row = np.flatnonzero(possible[part])
                start = _starts(await self._fetch(part, row, ("start_ns", "received_ns")))
                surely = sure[part][row] if part in sure else np.zeros(len(row), np.bool_)
                kept = np.flatnonzero((start >= self._least) & (start <= self._most))
                found.append(_Rows(np.full(len(row), first + i), row, start, surely).take(kept))
        return found

    async def _in_order(self, rows: _Rows, limit: int) -> list[tuple[Part, int]]:
        """Return the first of some rows that satisfy everything, in order."""
        found: list[tuple[Part, int]] = []
        order = np.argsort(rows.start)[::-1]
        begin, size = 0, 2 * limit
        while begin < len(order) and len(found) < limit:
            end = min(begin + size, len(order))
            # Ties are told apart by ids: they are looked at together.
            last = rows.start[order[end - 1]]
            while end < len(order) and rows.start[order[end]] == last:
                end += 1
            found += await self._wanted(rows.take(order[begin:end]))
            begin, size = end, size * 2
        return found[:limit]

    async def _wanted(self, rows: _Rows) -> list[tuple[Part, int]]:
        placed: list[tuple[tuple[int, str, str], Part, int, bool]] = []
        for number in np.unique(rows.part):
            own = np.flatnonzero(rows.part == number)
            own = own[np.argsort(rows.row[own])]
            part = self._parts[number]
            table = await self._fetch(part, rows.row[own], PLACE_COLUMNS)
            ids = zip(_starts(table).tolist(), table["trace_id"].to_pylist(), table["span_id"].to_pylist(), strict=True)
            sure = rows.sure[own] | await self._check_rows(part, rows.row[own], rows.sure[own])
            placed += [
                (place, part, int(row), bool(is_sure))
                for place, row, is_sure in zip(ids, rows.row[own], sure, strict=True)
            ]
        placed = [p for p in placed if p[3] and (self._after is None or p[0] < self._after)]
        wanted = await self._traces_wanted([place[1] for place, *_ in placed])
        placed.sort(key=lambda p: p[0], reverse=True)
        return [(part, row) for place, part, row, _ in placed if place[1] in wanted]

    async def _check_rows(self, part: Part, rows: Int64s, sure: Bools) -> Bools:
        """Return which rows satisfy the predicate, of those of which that is not sure yet."""
        checked = np.zeros(len(rows), np.bool_)
        unsure = np.flatnonzero(~sure)
        if len(unsure):
            columns = [name for name in LIGHT.names if name in needed_columns(self._selection.spans)]
            checked[unsure] = await self._checks.rows(await self._fetch(part, rows[unsure], columns))
        return checked

    async def _traces_wanted(self, ids: Sequence[str]) -> set[str]:
        if self._selection.traces == EVERY_TRACE:
            return set(ids)
        asked = [trace_id for trace_id in dict.fromkeys(ids) if trace_id not in self._traces]
        if asked:
            wanted = await self._checks.traces(asked)
            self._traces |= {trace_id: trace_id in wanted for trace_id in asked}
        return {trace_id for trace_id in ids if self._traces[trace_id]}


def _starts(table: pa.Table) -> Int64s:
    start = pc.coalesce(table["start_ns"], table["received_ns"])
    placed: Int64s = start.to_numpy()
    return placed


def _joined(rows: Sequence[_Rows]) -> _Rows:
    names = ("part", "row", "start")
    none = np.zeros(0, np.int64)
    joined = [np.concatenate([none, *(getattr(of, name) for of in rows)]) for name in names]
    sure = np.concatenate([np.zeros(0, np.bool_), *(of.sure for of in rows)])
    return _Rows(joined[0], joined[1], joined[2], sure)
