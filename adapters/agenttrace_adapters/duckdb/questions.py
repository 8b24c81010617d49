"""Searches over one project of a view: which way each is gone, and what decides where light rows cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from anyio import to_thread

from agenttrace_adapters.duckdb.exact import ExactTraces, Payloads, Versions
from agenttrace_adapters.duckdb.judge import Judge
from agenttrace_adapters.duckdb.masks import Masks, RowScanner
from agenttrace_adapters.duckdb.ordered import Ordered
from agenttrace_adapters.duckdb.parts import Part
from agenttrace_adapters.duckdb.runs import TraceRun, newest, sums_of
from agenttrace_adapters.duckdb.scan import Entries, Scanner, without
from agenttrace_adapters.duckdb.scored import Fetch
from agenttrace_adapters.duckdb.search import NewestFirst, TooMany, bounds
from agenttrace_adapters.duckdb.select import Checks, NewestSpans
from agenttrace_adapters.duckdb.sources import Sources
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_adapters.duckdb.trace_counts import Ledger
from agenttrace_core.model.algebra import EVERY_TRACE, Interval, Selection, TraceOrder, TraceSearch
from agenttrace_core.model.trace import TracePosition
from agenttrace_core.query.evaluate import matches
from agenttrace_core.query.score_match import ScoresByName
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.keys import trace_id_of, trace_words
from agenttrace_core.wire.payload_texts import SpanPayloads

_SCANNED_AT_ONCE = 4_000_000
"""Rows of a statement; between two, others get their turn and a search can be stopped."""


@dataclass(frozen=True, slots=True)
class ProjectSpans:
    """One project of a view, in all the forms that a search asks.

    Attributes:
        sql: DuckDB.
        parts: of the project, newest first.
        ledger: what sums are added up of.
        looked_through: returns it, corrections too, with what traces stand in several places.
        scanner: asks rows.
        scores: those that are asked for.
        dropped: says which rows of a source do not count.
        versions: fetches light rows of traces.
        payloads: fetches payloads.
        fetch: reads rows of parts.
        read: reads all columns of rows of parts, in the order given.
    """

    sql: SqlRunner
    parts: Sequence[Part]
    ledger: Sources
    looked_through: Callable[[], Ledger]
    scanner: RowScanner
    scores: ScoresByName
    dropped: Callable[[str], Int64s | None]
    versions: Versions
    payloads: Payloads
    fetch: Fetch
    read: Callable[[Sequence[tuple[Part, int]]], Awaitable[pa.Table]]

    @property
    def runs(self) -> list[TraceRun]:
        """All runs and corrections of the ledger."""
        return [*self.ledger.found_in, *self.ledger.corrections]

    async def search(self, search: TraceSearch) -> pa.Table:
        """Return the traces of a search, in order: ``TRACES``.

        Raises:
            InvalidInputError: a regular expression is none, or a value cannot be compared with its field.
        """
        by_start = search.order is TraceOrder.START and search.descending
        if by_start and search.where == EVERY_TRACE and search.during == Interval():
            before = None if search.after is None else TracePosition(*search.after[1:])
            return newest(self.ledger.found_in, self.ledger.corrections, search.limit, before)
        judge = Judge(search.where, search.as_of)
        scanner = Scanner(self.scanner, self.dropped, judge)
        decided = ExactTraces(self.versions, self.payloads, search.as_of, self.scores)

        async def exact(sums: pa.Table) -> Bools:
            return await decided.satisfy(sums, search.where)

        if by_start:
            try:
                return await NewestFirst(search, judge, scanner, self.parts, self.runs, exact).run(self.sql)
            except TooMany:
                pass
        least, _ = bounds(TraceSearch(during=search.during))
        marks = await _marks(scanner, [part for part in self.parts if part.max_start_ns >= least], judge)
        ledger = await to_thread.run_sync(self.looked_through)
        return await Ordered(search, judge, ledger, exact).run(self.sql, marks)

    async def spans(self, selection: Selection, *, limit: int, after: tuple[int, str, str] | None) -> pa.Table:
        """Return the light rows of a selection, newest first, with their ``LOCATION``.

        Raises:
            InvalidInputError: as ``search``.
        """
        exact = ExactTraces(self.versions, self.payloads, selection.as_of, self.scores)

        async def traces(ids: Sequence[str]) -> set[str]:
            return await self._traces(selection, exact, ids)

        async def rows(located: pa.Table) -> Bools:
            return await self._rows(selection, exact, located)

        checks = Checks(self.counting, rows, traces)
        newest_spans = NewestSpans(selection, after, self.parts, self.scanner, self.fetch, checks)
        return await self.read(await newest_spans.run(limit))

    async def payloads_of(self, rows: pa.Table) -> SpanPayloads:
        """Fetch the payloads of light rows with their ``LOCATION``."""
        return await ExactTraces(self.versions, self.payloads, None, self.scores).payloads_of(rows)

    def counting(self, masks: Masks) -> Masks:
        """Take rows that do not count out of masks."""
        return {part: without(part, mask, self.dropped(part.source)) for part, mask in masks.items()}

    async def _traces(self, selection: Selection, exact: ExactTraces, ids: Sequence[str]) -> set[str]:
        words = np.array([trace_words(trace_id) for trace_id in ids], np.uint64).reshape(-1, 2)
        hi, lo = np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
        sums = sums_of(self.runs, hi, lo)
        sums = sums.filter(pa.array(await exact.satisfy(sums, selection.traces)))
        found = zip(sums["trace_hi"].to_pylist(), sums["trace_lo"].to_pylist(), strict=True)
        return {trace_id_of(*pair) for pair in found}

    async def _rows(self, selection: Selection, exact: ExactTraces, located: pa.Table) -> Bools:
        payloads = await exact.payloads_of(located)
        return matches(located, selection.spans, payloads=payloads, scores=self.scores)


async def _marks(scanner: Scanner, parts: Sequence[Part], judge: Judge) -> Entries:
    """Return the bits of all traces of some parts that have any."""
    found = Entries.of([], judge.words)
    batch: list[Part] = []
    for i, part in enumerate(parts):
        batch.append(part)
        if sum(p.rows for p in batch) >= _SCANNED_AT_ONCE or i + 1 == len(parts):
            found = found.joined(await scanner.marked(batch))
            batch = []
    return found.by_trace()
