"""What a query sees: files and live rows that fit together, and how far behind they are."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import anyio

from agenttrace_core.errors import UnavailableError
from agenttrace_core.model.segment import Snapshot, Superseded
from agenttrace_core.ports.catalog import SegmentCatalog
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveChunk, LiveState, LiveTable
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.services.sound_files import SoundFiles

_TORN_TRIES = 20
_TORN_WAIT_S = 0.005


@dataclass(frozen=True, slots=True)
class Lag:
    """Whether something that was acknowledged is not readable yet, or may be, since the queue does not say.

    ``lag_bytes`` is how much of the log that is; None where the queue does not count bytes. It counts records
    then: ``lag_records``. Both are None where it does not answer. ``damaged`` are the ids of files that cannot be
    read, whose rows are missing.
    """

    partial: bool = False
    lag_bytes: int | None = 0
    lag_records: int | None = None
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A view, and by partition the offset below which every record is in it."""

    view: View
    readable: Mapping[int, int]
    lag: Lag


class ViewSource(Protocol):
    """Where views come from: a snapshot and live rows that fit together."""

    @abstractmethod
    async def view(self) -> View:
        """Return the newest view. ``live.tail`` says up to where each partition is in it, or in the snapshot.

        Raises:
            UnavailableError: there is none that may still be read.
        """


class Views:
    """Makes views. Queries that come within ``max_age_s`` of one another share one.

    Args:
        source: where they come from.
        queue: says what has been acknowledged.
        sound: knows which files are damaged, and to be left out; None knows of none.
        max_age_s: how old a view may be when a query begins.
    """

    def __init__(
        self, source: ViewSource, queue: SpanQueue, *, sound: SoundFiles | None = None, max_age_s: float = 0.01
    ) -> None:
        self._source = source
        self._queue = queue
        self._sound = sound
        self._max_age_s = max_age_s
        self._seen: Seen | None = None
        self._looked_at = float("-inf")
        self._lock = anyio.Lock()

    async def look(self) -> Seen:
        """Return what is readable now.

        Raises:
            UnavailableError: a backend does not answer.
        """
        if self._seen is not None and time.monotonic() - self._looked_at < self._max_age_s:
            return self._without_damaged(self._seen)
        async with self._lock:
            if self._seen is None or time.monotonic() - self._looked_at >= self._max_age_s:
                looked_at = time.monotonic()
                self._seen = await self._look()
                self._looked_at = looked_at
            return self._without_damaged(self._seen)

    def _without_damaged(self, seen: Seen) -> Seen:
        if self._sound is None or (view := self._sound.view(seen.view)) is seen.view:
            return seen
        damaged = self._sound.left_out(seen.view.snapshot)
        return replace(
            seen, view=view, lag=replace(seen.lag, partial=seen.lag.partial or bool(damaged), damaged=damaged)
        )

    async def _look(self) -> Seen:
        """Read the end of the log, and then what there is.

        The end is read first, so that what was acknowledged before the query, and only that, counts as
        lag if the rest does not have it.
        """
        ends = await self._ends()
        view = await self._source.view()
        tail, watermarks = view.live.tail, view.snapshot.watermarks
        partitions = tail.keys() | watermarks.keys() if ends is None else ends.keys()
        readable = {p: max(tail.get(p, 0), watermarks.get(p, 0)) for p in partitions}
        return Seen(view, readable, self._lag(ends, readable))

    async def _ends(self) -> Mapping[int, int] | None:
        try:
            return await self._queue.end_offsets()
        except UnavailableError:
            return None

    def _lag(self, ends: Mapping[int, int] | None, readable: Mapping[int, int]) -> Lag:
        if ends is None:
            return Lag(partial=True, lag_bytes=None)
        behind = sum(max(0, end - readable[p]) for p, end in ends.items())
        if self._queue.capabilities.byte_offsets:
            return Lag(behind > 0, behind)
        return Lag(behind > 0, None if behind else 0, behind)


class PublishedViews(ViewSource):
    """Views of what the writer of this machine publishes.

    Args:
        catalog: says which files are live.
        live: the writer's live table.
    """

    def __init__(self, catalog: SegmentCatalog, live: LiveTable) -> None:
        self._catalog, self._live = catalog, live
        self._snapshot: Snapshot | None = None
        self._joined: tuple[Snapshot, LiveState, View] | None = None

    async def view(self) -> View:
        """Read the live table, and then the catalog.

        The order is what makes it exact. A chunk leaves the live table only after the commit that
        puts its rows into files. So whatever was decoded when the live table was read is in one
        of its chunks, or below watermarks that the catalog, read later, is sure to have. A
        commit in between shows as a chunk below the watermark: it is dropped, since its rows are
        in the snapshot's files. Nothing is missed, and nothing is there twice.
        """
        tries = 0
        while True:
            live = await self._live.current()
            snapshot = await self._current_snapshot()
            view = self._view(snapshot, live)
            if view is not None:
                return view
            tries += 1
            if tries == _TORN_TRIES:
                return View(snapshot, _above(snapshot, live, live.superseded))
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
