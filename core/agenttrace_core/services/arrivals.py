"""Spans as they arrive, exactly: a reader goes on from the record that it has come to.

A place is, by partition, the offset of the first record that was not told yet. What lies between a
place and the end of what is readable is in the live table or, if a writer has been quick, in files by
now; one view has it all, so that nothing falls between two looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from agenttrace_core.errors import InvalidInputError, UnsupportedError
from agenttrace_core.model.algebra import EVERY_TRACE, SpanPredicate
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.span import UNENDED
from agenttrace_core.ports.index import Arrivals, SpanIndex, View
from agenttrace_core.query.arrivals import place_after
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.evaluate import matches
from agenttrace_core.query.language import parse_spans
from agenttrace_core.schema.arrays import UInt64s, numbers, whole
from agenttrace_core.schema.keys import identity_hashes, mixed
from agenttrace_core.schema.tables import LIGHT
from agenttrace_core.services.otlp_pieces import located
from agenttrace_core.services.read import ReadService
from agenttrace_core.services.told import Told
from agenttrace_core.wire.payload_texts import SpanPayloads

_QUESTION = "live"


@dataclass(frozen=True, slots=True)
class Arrived:
    """Some spans that arrived, in order, as light rows (``LIGHT`` among their columns), and the place after them.

    ``mark`` is the place, for whoever wants to go on from there later. ``caught_up``: there were no more then.
    ``skipped``: the reader had fallen too far behind, and what lay between was left out.
    """

    rows: pa.Table
    mark: str
    caught_up: bool
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How streams work.

    Attributes:
        batch: rows that are read at once.
        patience_s: how long a stream may go without having caught up, before what it has missed is skipped.
        remembered: how many of the spans told last are not told again when they are sent again; at least half of that.
        clock: seconds that only ever grow.
    """

    batch: int = 500
    patience_s: float = 60.0
    remembered: int = 100_000
    clock: Callable[[], float] = time.monotonic


class ArrivalService:
    """Opens streams of one project's spans.

    Args:
        read: what is readable.
        index: reads rows in order of arrival, if it is one of ``Arrivals``.
        cursor_key: the deployment's secret for cursors.
        config: how streams work.
    """

    def __init__(
        self, read: ReadService, index: SpanIndex, *, cursor_key: bytes, config: StreamConfig | None = None
    ) -> None:
        self._read = read
        self._index = index
        self._cursors = Cursors(cursor_key)
        self.config = config or StreamConfig()

    async def open(self, principal: Principal, query: str = "", *, after: str | None = None) -> ArrivalStream:
        """Begin to tell of the spans that ``query`` selects: of those to come, or of all since the mark ``after``.

        Raises:
            QueryError: ``query`` is none.
            InvalidInputError: ``query`` asks about traces as a whole, or ``after`` is no mark of this project.
            UnsupportedError: the index does not know what arrived when.
        """
        spans, traces = parse_spans(query)
        if traces != EVERY_TRACE:
            raise InvalidInputError("q: of spans as they arrive nothing can be asked about their traces as a whole")
        _check(spans)
        place = await self.now() if after is None else self._opened(principal.project, after)
        return ArrivalStream(self, principal.project, spans, place)

    async def now(self) -> dict[int, int]:
        """Return the place after all that is readable."""
        return dict((await self._read.view()).readable)

    async def read_on(
        self, project: str, predicate: SpanPredicate, place: Mapping[int, int]
    ) -> tuple[pa.Table, dict[int, int], bool]:
        """Return the next rows that count, the place after them, and whether they are all that have arrived by now."""
        if not isinstance(self._index, Arrivals):
            raise UnsupportedError("the span index of this server does not know what arrived when")
        seen = await self._read.view()
        if all(end <= place.get(partition, 0) for partition, end in seen.readable.items()):
            return LIGHT.empty_table(), dict(place), True
        rows = await self._index.arrivals(seen.view, project, place, limit=self.config.batch)
        caught_up = len(rows) < self.config.batch
        base = seen.view.snapshot.offset_base
        following = place_after(rows, place, seen.readable, whole=caught_up, offset_base=base)
        return await self._chosen(seen.view, rows, predicate), following, caught_up

    async def _chosen(self, view: View, rows: pa.Table, predicate: SpanPredicate) -> pa.Table:
        """Return the rows that satisfy a predicate, looking into payloads where light rows cannot decide."""
        maybe = matches(rows, predicate, undecided=True)
        surely = matches(rows, predicate, undecided=False)
        if (maybe != surely).any():
            rows = rows.filter(pa.array(maybe))
            payload = await self._index.payload(view, located(rows))
            payloads = SpanPayloads(whole(payload["span"]), whole(payload["resource"]))
            maybe = matches(rows, predicate, payloads=payloads)
        return rows.filter(pa.array(maybe))

    def mark(self, project: str, place: Mapping[int, int]) -> str:
        """Return a place as text that a client can keep and hand back."""
        return self._cursors.sign(project, _QUESTION, tuple(n for each in sorted(place.items()) for n in each))

    def _opened(self, project: str, mark: str) -> dict[int, int]:
        numbers = [int(n) for n in self._cursors.open(mark, project, _QUESTION)]
        return dict(zip(numbers[::2], numbers[1::2], strict=True))


class ArrivalStream:
    """One reader's way through what arrives. Made by ``ArrivalService.open``."""

    def __init__(
        self, service: ArrivalService, project: str, predicate: SpanPredicate, place: Mapping[int, int]
    ) -> None:
        self._service = service
        self._project = project
        self._predicate = predicate
        self._place = dict(place)
        self._told = Told(service.config.remembered)
        self._caught_up_at = service.config.clock()

    async def next(self) -> Arrived:
        """Return what has arrived since the last call, or a part of it; ``rows`` is empty if nothing has.

        A span is told once, however often it is sent, and once more if another version of it comes: one that had
        begun, when it has ended.
        """
        config = self._service.config
        rows, place, caught_up = await self._service.read_on(self._project, self._predicate, self._place)
        skipped = False
        if caught_up:
            self._caught_up_at = config.clock()
        elif config.clock() - self._caught_up_at > config.patience_s:
            skipped, place, self._caught_up_at = True, await self._service.now(), config.clock()
        self._place = place
        return Arrived(self._new(rows), self._service.mark(self._project, place), caught_up, skipped)

    def _new(self, rows: pa.Table) -> pa.Table:
        fresh = self._told.add(_versions(rows))
        return rows if fresh.all() else rows.filter(pa.array(fresh))


def _check(predicate: SpanPredicate) -> None:
    """Find out before the stream begins whether its question can be answered."""
    try:
        matches(LIGHT.empty_table(), predicate)
    except UnsupportedError as error:
        raise InvalidInputError(f"q: spans have no scores yet when they arrive ({error})") from error


def _versions(rows: pa.Table) -> UInt64s:
    """Return a number for each row's span, and the end that this row knows of it."""
    ended = (numbers(rows, "quality") & np.uint16(UNENDED)) == 0
    duration = whole(rows["duration_ns"]).fill_null(0).to_numpy().view(np.uint64)
    return mixed(identity_hashes(rows) ^ mixed(np.where(ended, duration + np.uint64(1), np.uint64(0))))
