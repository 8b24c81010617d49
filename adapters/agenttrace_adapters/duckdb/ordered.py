"""Traces in any order: the ledger of an interval added up at once, and the best of it looked at first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.judge import Judge
from agenttrace_adapters.duckdb.ledgers import ledger_table
from agenttrace_adapters.duckdb.predicates import in_units
from agenttrace_adapters.duckdb.runs import among
from agenttrace_adapters.duckdb.scan import Entries
from agenttrace_adapters.duckdb.search import Exact, bounds, lookup
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_adapters.duckdb.trace_counts import Ledger
from agenttrace_core.model.algebra import AllOf, Op, TraceCompare, TraceField, TraceOrder, TracePredicate, TraceSearch
from agenttrace_core.schema.arrays import Bools, numbers
from agenttrace_core.schema.keys import trace_words
from agenttrace_core.schema.tables import TRACES

_ADDED = ("spans", "errors", "input_tokens", "output_tokens", "cost_pico_usd")
_LEDGER = ("trace_hi", "trace_lo", "start_ns", "end_ns", *_ADDED)
_VALUES = {
    TraceOrder.START: "start_ns",
    TraceOrder.DURATION: "end_ns - start_ns",
    TraceOrder.COST: "cost_pico_usd",
    TraceOrder.TOKENS: "input_tokens + output_tokens",
}
_COMPARED = {
    TraceField.DURATION_NS: "end_ns - start_ns",
    TraceField.COST_USD: "cost_pico_usd",
    TraceField.SPANS: "spans",
    TraceField.ERRORS: "errors",
    TraceField.INPUT_TOKENS: "input_tokens",
    TraceField.OUTPUT_TOKENS: "output_tokens",
}
_GROWS = 8


class Ordered:
    """One search in any order.

    Args:
        search: what is asked.
        judge: of ``search.where``.
        ledger: all of it, corrections too.
        exact: decides what bits and sums cannot.
    """

    def __init__(self, search: TraceSearch, judge: Judge, ledger: Ledger, exact: Exact) -> None:
        self._search, self._judge, self._runs, self._exact = search, judge, ledger.runs, exact
        self._table = ledger_table(ledger, _LEDGER)

    async def run(self, sql: SqlRunner, marks: Entries) -> pa.Table:
        """Return the traces, at most as many as were asked for.

        ``marks`` are the bits of the interval's traces, one item a trace; where a trace without any may be what
        is sought, those without need not be there.
        """
        limit = self._search.limit
        found: list[pa.Table] = []
        begin, size = 0, 4 * limit
        while True:
            batch = await self._candidates(sql, marks, begin, size)
            found.append(await self._wanted(batch))
            if sum(map(len, found)) >= limit or len(batch.hi) < size:
                return pa.concat_tables([TRACES.empty_table(), *found]).slice(0, limit)
            begin, size = begin + size, size * _GROWS

    async def _candidates(self, sql: SqlRunner, marks: Entries, begin: int, size: int) -> Entries:
        """Return the ``size`` best traces that are possible, after the first ``begin``."""
        given: dict[str, object] = {"begin": begin, "size": size}
        least, most = self._interval()
        conditions = [f"start_ns BETWEEN {least} AND {most}", *_ledger_conditions(self._search.where)]
        if self._search.after is not None:
            conditions.append(self._below(given))
        direction = "DESC" if self._search.descending else "ASC"
        words = [f"w{i}" for i in range(self._judge.words)]
        join = "LEFT JOIN" if self._judge.begins_open else "JOIN"
        sums = ", ".join(f"sum({name})::HUGEINT AS {name}" for name in _ADDED)
        found = await sql.ask(
            f"""
            WITH added AS (
                SELECT trace_hi AS hi, trace_lo AS lo, {sums}, min(start_ns) FILTER (spans > 0) AS start_ns,
                       greatest(max(end_ns) FILTER (spans > 0), min(start_ns) FILTER (spans > 0)) AS end_ns
                FROM ledger WHERE scattered GROUP BY ALL HAVING sum(ledger.spans) > 0
                UNION ALL BY NAME
                SELECT trace_hi AS hi, trace_lo AS lo, {", ".join(_ADDED)}, start_ns,
                       greatest(end_ns, start_ns) AS end_ns
                FROM ledger WHERE NOT scattered AND spans > 0
            )
            SELECT hi, lo, start_ns, {", ".join(f"coalesce({word}, 0)::UBIGINT AS {word}" for word in words)}
            FROM added {join} marks USING (hi, lo) WHERE {" AND ".join(conditions)}
            ORDER BY {_VALUES[self._search.order]} {direction}, start_ns DESC, hi DESC, lo DESC
            LIMIT $size OFFSET $begin
            """,  # noqa: S608 - names and numbers of ours
            given,
            {"ledger": self._table, "marks": _marks_table(marks)},
        )
        bits = np.stack([found[word].to_numpy() for word in words], axis=1)
        return Entries(found["hi"].to_numpy(), found["lo"].to_numpy(), found["start_ns"].to_numpy(), bits)

    async def _wanted(self, batch: Entries) -> pa.Table:
        """Return the sums of those of some traces that are as asked, in the same order."""
        judged = self._judge.verdict(batch.bits, None)
        batch = batch.take(np.flatnonzero(judged.possible))
        order = np.lexsort((batch.lo, batch.hi))
        ids = batch.take(order)
        sums = await lookup(self._runs, ids)
        place = among(ids.hi, ids.lo, numbers(sums, "trace_hi"), numbers(sums, "trace_lo"))
        verdict = self._judge.verdict(ids.bits[place], sums)
        wanted = verdict.possible & self._inside(sums)
        unsure = np.flatnonzero(wanted & ~verdict.sure)
        if len(unsure):
            wanted[unsure] = await self._exact(sums.take(pa.array(unsure)))
        kept = sums.filter(pa.array(wanted))
        return kept.take(pa.array(np.argsort(order[place][wanted])))

    def _inside(self, sums: pa.Table) -> Bools:
        least, most = self._interval()
        start = numbers(sums, "start_ns")
        inside: Bools = (start >= least) & (start <= most)
        return inside

    def _interval(self) -> tuple[int, int]:
        return bounds(TraceSearch(during=self._search.during))

    def _below(self, given: dict[str, object]) -> str:
        """Return the condition for what comes after the last trace of the page before."""
        assert self._search.after is not None
        value, start, trace_id = self._search.after
        hi, lo = trace_words(trace_id)
        given |= {"value": value, "start": start, "hi": int(hi), "lo": int(lo)}
        is_after = "<" if self._search.descending else ">"
        by = _VALUES[self._search.order]
        id_below = "hi < $hi OR (hi = $hi AND lo < $lo)"
        tied = f"start_ns < $start OR (start_ns = $start AND ({id_below}))"
        return f"({by} {is_after} $value OR ({by} = $value AND ({tied})))"


def _ledger_conditions(where: TracePredicate) -> Iterator[str]:
    """Yield what numbers of the ledger must be, of traces that may satisfy a predicate."""
    if isinstance(where, AllOf):
        for part in where.of:
            yield from _ledger_conditions(part)
    if not isinstance(where, TraceCompare) or isinstance(where.value, str | bool) or where.field not in _COMPARED:
        return
    if where.op in {Op.GLOB, Op.REGEX}:
        return
    places = 12 if where.field is TraceField.COST_USD else 0
    op, limit, holds = in_units(where.op, where.value, places=places, bound=1 << 63)
    yield f"({_COMPARED[where.field]}) {op.value} {limit}" if holds is None else str(holds).upper()


def _marks_table(marks: Entries) -> pa.Table:
    words = {f"w{i}": marks.bits[:, i] for i in range(marks.bits.shape[1])}
    return pa.table({"hi": marks.hi, "lo": marks.lo, **words})
