"""What a query sees: files and live rows that fit together, and how far behind they are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import anyio

from agenttrace_core.model.segment import Snapshot, Superseded
from agenttrace_core.ports.catalog import SegmentCatalog
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveChunk, LiveState, LiveTable
from agenttrace_core.ports.queue import SpanQueue

_TORN_TRIES = 20
_TORN_WAIT_S = 0.005


@dataclass(frozen=True, slots=True)
class Lag:
    """Whether something that was acknowledged is not readable yet.

    ``lag_bytes`` is how much of the log that is; None where the queue does not count bytes.
    """

    partial: bool = False
    lag_bytes: int | None = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A view, and by partition the offset below which every record is in it."""

    view: View
    readable: Mapping[int, int]
    lag: Lag


class Views:
    """Makes views. Queries that come within ``max_age_s`` of one another share one.

    Args:
        catalog: says which files are live.
        live: the live table of this machine's writer.
        queue: says what has been acknowledged.
        max_age_s: how old a view may be when a query begins.
    """

    def __init__(self, catalog: SegmentCatalog, live: LiveTable, queue: SpanQueue, *, max_age_s: float = 0.01) -> None:
        self._catalog = catalog
        self._live = live
        self._queue = queue
        self._max_age_s = max_age_s
        self._snapshot: Snapshot | None = None
        self._joined: tuple[Snapshot, LiveState, View] | None = None
        self._seen: Seen | None = None
        self._looked_at = float("-inf")
        self._lock = anyio.Lock()

    async def look(self) -> Seen:
        """Return what is readable now.

        Raises:
            UnavailableError: a backend does not answer.
        """
        if self._seen is not None and time.monotonic() - self._looked_at < self._max_age_s:
            return self._seen
        async with self._lock:
            if self._seen is None or time.monotonic() - self._looked_at >= self._max_age_s:
                looked_at = time.monotonic()
                self._seen = await self._look()
                self._looked_at = looked_at
            return self._seen

    async def _look(self) -> Seen:
        """Read, in this order, the end of the log, the live table, and the catalog.

        The order is what makes it exact. A chunk leaves the live table only after the commit that
        puts its rows into files. So whatever was decoded when the live table was read is in one
        of its chunks, or below watermarks that the catalog, read later, is sure to have. A
        commit in between shows as a chunk below the watermark: it is dropped, since its rows are
        in the snapshot's files. Nothing is missed, and nothing is there twice. And the log's end
        is read first, so that what was acknowledged before the query, and only that, counts as
        lag if the rest does not have it.
        """
        ends = await self._queue.end_offsets()
        live, view = await self._joined_view()
        readable = {p: max(live.tail.get(p, 0), view.snapshot.watermarks.get(p, 0)) for p in ends}
        behind = sum(max(0, end - readable[p]) for p, end in ends.items())
        counts_bytes = self._queue.capabilities.byte_offsets
        return Seen(view, readable, Lag(behind > 0, behind if counts_bytes or not behind else None))

    async def _joined_view(self) -> tuple[LiveState, View]:
        tries = 0
        while True:
            live = await self._live.current()
            snapshot = await self._current_snapshot()
            view = self._view(snapshot, live)
            if view is not None:
                return live, view
            tries += 1
            if tries == _TORN_TRIES:
                return live, View(snapshot, _above(snapshot, live, live.superseded))
            await anyio.sleep(_TORN_WAIT_S)

    async def _current_snapshot(self) -> Snapshot:
        version = await self._catalog.version()
        if self._snapshot is None or self._snapshot.version != version:
            self._snapshot = await self._catalog.snapshot()
        return self._snapshot

    def _view(self, snapshot: Snapshot, live: LiveState) -> View | None:
        """Join the two; None if a commit has taken over a part of one correction, which cannot be divided."""
        joined = self._joined
        if joined is not None and joined[0] is snapshot and joined[1] is live:
            return joined[2]
        superseded = _not_yet_said(snapshot, live.superseded)
        if superseded is None:
            return None
        view = View(snapshot, _above(snapshot, live, superseded))
        self._joined = snapshot, live, view
        return view


def _above(snapshot: Snapshot, live: LiveState, superseded: Sequence[Superseded]) -> LiveState:
    """Keep of a live state what the snapshot does not have in files."""
    chunks = tuple(chunk for chunk in live.chunks if not _is_below(chunk, snapshot.watermarks))
    kept = {chunk.id for chunk in chunks}
    dead = {chunk: rows for chunk, rows in live.dead.items() if chunk in kept}
    return replace(live, chunks=chunks, dead=dead, superseded=tuple(superseded))


def _is_below(chunk: LiveChunk, watermarks: Mapping[int, int]) -> bool:
    return any(r.next <= watermarks.get(r.partition, 0) for r in chunk.ranges)


def _not_yet_said(snapshot: Snapshot, superseded: Sequence[Superseded]) -> list[Superseded] | None:
    """Return what of ``superseded`` the snapshot does not say; None if it says a part of one."""
    if not superseded:
        return []
    asked = {(s.file_id, s.project) for s in superseded}
    said: dict[tuple[UUID, str], set[int]] = {}
    for s in snapshot.superseded:
        if (s.file_id, s.project) in asked:
            said.setdefault((s.file_id, s.project), set()).update(s.rows)
    unsaid: list[Superseded] = []
    for s in superseded:
        common = said.get((s.file_id, s.project), set()).intersection(s.rows)
        if common and len(common) < len(s.rows):
            return None
        if not common:
            unsaid.append(s)
    return unsaid
