"""Questions of the algebra, answered by looking at every row: slow, and right by the meaning of each word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.model.algebra import Aggregation, Interval, Selection, TraceOrder, TracePredicate, TraceSearch
from agenttrace_core.model.trace import AsOf
from agenttrace_core.query.evaluate import Payloads, Scores, matches
from agenttrace_core.query.grouping import aggregate_rows
from agenttrace_core.query.settle import effective_start
from agenttrace_core.query.trace_match import match_traces
from agenttrace_core.schema.arrays import Bools, Int64s, numbers
from agenttrace_core.schema.keys import trace_id_of


@dataclass(frozen=True, slots=True)
class Everything:
    """All that a view has of one project.

    ``sums`` are ``TRACES``, a row a trace; ``rows`` are light rows with ``LOCATION``, whose ``payloads`` are at hand;
    ``scores`` are those of the names that are asked for.
    """

    sums: pa.Table
    rows: pa.Table
    payloads: Payloads
    scores: Scores

    def search(self, search: TraceSearch) -> pa.Table:
        """Answer as ``SpanQueries.search`` does."""
        found = self.sums.filter(pa.array(_within(numbers(self.sums, "start_ns"), search.during)))
        found = found.filter(pa.array(self._match(found, search.where, search.as_of)))
        value = order_values(found, search.order)
        places = _places(value, found)
        order = sorted(range(len(found)), key=places.__getitem__, reverse=True)
        order.sort(key=value.__getitem__, reverse=search.descending)
        if search.after is not None:
            after = (*search.after[:2], int(search.after[2], 16))
            order = [i for i in order if _follows(places[i], after, descending=search.descending)]
        return found.take(pa.array(order[: search.limit], pa.int64()))

    def spans(self, selection: Selection, *, limit: int, after: tuple[int, str, str] | None) -> pa.Table:
        """Answer as ``SpanQueries.spans`` does."""
        found = self._selected(selection)
        places = list(
            zip(
                effective_start(found).tolist(),
                found["trace_id"].to_pylist(),
                found["span_id"].to_pylist(),
                strict=True,
            )
        )
        order = sorted(range(len(places)), key=places.__getitem__, reverse=True)
        order = [i for i in order if after is None or places[i] < after]
        return found.take(pa.array(order[:limit], pa.int64()))

    def aggregate(self, question: Aggregation) -> pa.Table:
        """Answer as ``SpanQueries.aggregate`` does."""
        ids = zip(self.sums["trace_hi"].to_pylist(), self.sums["trace_lo"].to_pylist(), strict=True)
        starts = dict(zip((trace_id_of(*words) for words in ids), self.sums["start_ns"].to_pylist(), strict=True))
        return aggregate_rows(self._selected(question.selection), starts, question, self.scores)

    def _selected(self, selection: Selection) -> pa.Table:
        traces = self.sums.filter(pa.array(self._match(self.sums, selection.traces, selection.as_of)))
        ids = zip(traces["trace_hi"].to_pylist(), traces["trace_lo"].to_pylist(), strict=True)
        wanted = {trace_id_of(*words) for words in ids}
        of_them = np.array([trace_id in wanted for trace_id in self.rows["trace_id"].to_pylist()], np.bool_)
        kept = of_them & _within(effective_start(self.rows), selection.during)
        kept &= matches(self.rows, selection.spans, payloads=self.payloads, scores=self.scores)
        return self.rows.filter(pa.array(kept))

    def _match(self, sums: pa.Table, where: TracePredicate, as_of: AsOf | None) -> Bools:
        return match_traces(sums, self.rows, where, as_of=as_of, payloads=self.payloads, scores=self.scores)


def order_values(sums: pa.Table, order: TraceOrder) -> list[int]:
    """Return what traces are sorted by."""
    parts: dict[TraceOrder, Any] = {
        TraceOrder.START: lambda: numbers(sums, "start_ns"),
        TraceOrder.DURATION: lambda: numbers(sums, "end_ns") - numbers(sums, "start_ns"),
        TraceOrder.COST: lambda: numbers(sums, "cost_pico_usd"),
        TraceOrder.TOKENS: lambda: numbers(sums, "input_tokens") + numbers(sums, "output_tokens"),
    }
    values: list[int] = parts[order]().tolist()
    return values


def _places(value: list[int], sums: pa.Table) -> list[tuple[int, int, int]]:
    ids = zip(sums["trace_hi"].to_pylist(), sums["trace_lo"].to_pylist(), strict=True)
    numbers_of_ids = [(hi << 64) | lo for hi, lo in ids]
    return list(zip(value, sums["start_ns"].to_pylist(), numbers_of_ids, strict=True))


def _follows(place: tuple[int, int, int], after: tuple[int, int, int], *, descending: bool) -> bool:
    if place[0] == after[0]:
        return place[1:] < after[1:]
    return (place[0] < after[0]) == descending


def _within(times: Int64s, during: Interval) -> Bools:
    found = np.ones(len(times), np.bool_)
    if during.start_ns is not None:
        found &= times >= during.start_ns
    if during.end_ns is not None:
        found &= times < during.end_ns
    return found
