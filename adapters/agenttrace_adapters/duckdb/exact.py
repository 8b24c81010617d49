"""The last word on some traces, by all their rows and, where it takes them, their payloads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.predicates import is_decided
from agenttrace_core.model.algebra import AllOf, AnyOf, NoneOf, Related, Some, SpanPredicate, TracePredicate
from agenttrace_core.model.trace import AsOf
from agenttrace_core.ports.index import Location
from agenttrace_core.query.evaluate import Scores
from agenttrace_core.query.trace_match import match_traces, needed_of_traces
from agenttrace_core.schema.arrays import Bools, numbers, whole
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.schema.tables import LIGHT, LOCATION
from agenttrace_core.wire.payload_texts import SpanPayloads

_ROWS_AT_ONCE = 20_000
_TRACES_AT_ONCE = 64

Versions = Callable[[Sequence[str], Sequence[str]], Awaitable[pa.Table]]
"""Fetches columns of the rows of some traces."""
Payloads = Callable[[Sequence[Location]], Awaitable[pa.Table]]
"""Fetches payloads, in the order asked."""


class ExactTraces:
    """Decides about traces a few at a time, in the order given: newest first, if they come so.

    Args:
        versions: fetches light rows.
        payloads: fetches payloads.
        as_of: what the state of a trace is judged by.
        scores: those that are asked for.
    """

    def __init__(self, versions: Versions, payloads: Payloads, as_of: AsOf | None, scores: Scores) -> None:
        self._versions, self._payloads, self._as_of, self._scores = versions, payloads, as_of, scores

    async def satisfy(self, sums: pa.Table, where: TracePredicate) -> Bools:
        """Return which traces (``TRACES``, one row each) satisfy a predicate."""
        found = [np.zeros(0, np.bool_)]
        for begin, count in _batches(numbers(sums, "spans").tolist()):
            found.append(await self._of(sums.slice(begin, count), where))
        return np.concatenate(found)

    async def payloads_of(self, rows: pa.Table) -> SpanPayloads:
        """Fetch the payloads of light rows with their ``LOCATION``."""
        places = zip(rows["source"].to_pylist(), rows["row"].to_pylist(), strict=True)
        payload = await self._payloads([Location(source, row) for source, row in places])
        return SpanPayloads(whole(payload["span"]), whole(payload["resource"]))

    async def _of(self, sums: pa.Table, where: TracePredicate) -> Bools:
        hi, lo = numbers(sums, "trace_hi").tolist(), numbers(sums, "trace_lo").tolist()
        ids = [trace_id_of(*words) for words in zip(hi, lo, strict=True)]
        columns = [name for name in LIGHT.names if name in {"trace_id", "span_id", *needed_of_traces(where)}]
        rows = (await self._versions(ids, columns)).combine_chunks()
        payloads = None if asks_light_rows_only(where) else await self.payloads_of(rows.select(LOCATION.names))
        return match_traces(sums, rows, where, as_of=self._as_of, payloads=payloads, scores=self._scores)


def asks_light_rows_only(where: TracePredicate) -> bool:
    """Say whether light rows decide a predicate, without payloads."""
    return all(map(is_decided, spans_of(where)))


def spans_of(where: TracePredicate) -> Iterator[SpanPredicate]:
    """Iterate over the span predicates that a trace predicate is made of."""
    match where:
        case Some(span):
            yield span
        case Related(first, steps):
            yield first
            yield from (step.span for step in steps)
        case AllOf(of) | AnyOf(of):
            for part in of:
                yield from spans_of(part)
        case NoneOf(of):
            yield from spans_of(of)
        case _:
            pass


def _batches(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    begin = rows = 0
    for place, size in enumerate(sizes):
        if place > begin and (rows + size > _ROWS_AT_ONCE or place - begin == _TRACES_AT_ONCE):
            yield begin, place - begin
            begin, rows = place, 0
        rows += size
    if sizes:
        yield begin, len(sizes) - begin
