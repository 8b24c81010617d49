"""What is readable, made from the queue itself: for readers that no writer publishes to, since it runs elsewhere.

A *generation* is a snapshot of the catalog and the live state made of all records above its watermarks, by the same
rules as a writer's. When the catalog has moved on, the next generation is made beside it, from the same records as
far as they are above the new watermarks, and takes its place at once. So a view never depends on when who commits
what: it is always one snapshot, and exactly what is not in it.

What is kept in memory is bounded. Beyond the bound nothing is read until writers have committed more, and answers
say that they are partial.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

import anyio

from agenttrace_core.errors import UnavailableError
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.intake import Below, Intake, Remembered
from agenttrace_core.services.lineage import Lineage
from agenttrace_core.services.memory_of_writes import IdentityFilter
from agenttrace_core.services.news import CatalogNews
from agenttrace_core.services.pace import pause_s
from agenttrace_core.services.read_ahead import ReadAhead
from agenttrace_core.services.recent import recent_rows
from agenttrace_core.services.retry import until_available
from agenttrace_core.services.sound_files import SoundFiles
from agenttrace_core.services.tail import check_queue
from agenttrace_core.services.view import ViewSource

_log = logging.getLogger(__name__)

_REST = 5
"""A generation is made at most a sixth of the time."""

_UNNOTICED_S = 0.5
"""What is younger counts as no lag: so long may pass from one look at the queue to the end of the next."""


@dataclass(frozen=True, slots=True)
class FollowConfig:
    """How a reader follows the queue.

    Attributes:
        live_bytes: raw bytes of spans in memory, before it waits for the writers.
        chunk_bytes: raw bytes that are decoded at once, at the most.
        chunk_interval_s: the least time between two chunks, while less than that is waiting; a busy machine takes up to
            three times as long.
        poll_s: the time between two looks at a queue that has nothing new.
        turn_s: the least time between two generations; a busy machine takes five times as long as one takes to make.
        longest_turn_s: the most.
        stale_s: how long it goes on with a snapshot while the catalog is away: less than replaced files are kept.
        dedupe_spans: how many of the newest spans in files are remembered.
        dedupe_reload_spans: how many of those are read from files at start.
        dedupe_bodies: how many of the newest requests are remembered.
        tree_slots: as of a writer.
    """

    live_bytes: int = 512 << 20
    chunk_bytes: int = 8 << 20
    chunk_interval_s: float = 0.1
    poll_s: float = 0.05
    turn_s: float = 1.0
    longest_turn_s: float = 15.0
    stale_s: float = 240.0
    dedupe_spans: int = 4_000_000
    dedupe_reload_spans: int = 1_000_000
    dedupe_bodies: int = 100_000
    tree_slots: int = 1 << 20


class Follower(ViewSource):
    """Follows a queue over ports alone. ``open`` it, and have ``run`` running for as long as views are asked for.

    Args:
        queue: read from the watermarks on.
        catalog: says what is in files.
        storage: where those are.
        index: finds the other versions of a span; attached to ``storage``, open, and nobody else's: the views that
            are asked about here come and go with every chunk.
        config: sizes and times.
        pricing: the prices that the writers count with.
        sound: finds out which files are damaged.
        news: says when the catalog may have moved on.
        meter: what is told while it works.
    """

    def __init__(
        self,
        *,
        queue: SpanQueue,
        catalog: MetadataStore,
        storage: ObjectStorage,
        index: SpanIndex,
        config: FollowConfig | None = None,
        pricing: Pricing = PACKAGE_PRICES,
        sound: SoundFiles | None = None,
        news: CatalogNews | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._queue, self._catalog, self._storage, self._index = queue, catalog, storage, index
        self._config = config or FollowConfig()
        self._pricing = pricing
        self._news = news or CatalogNews()
        self._meter: Meter = meter or NoMeter()
        self._sound = sound or SoundFiles(catalog, storage, meter=self._meter)
        self._below = Below(IdentityFilter(self._config.dedupe_spans), IdentityFilter(self._config.dedupe_spans))
        # All that was read and is above the watermarks of the generation.
        self._ahead = ReadAhead(
            queue, storage, pricing, bodies=self._config.dedupe_bodies, chunk_bytes=self._config.chunk_bytes
        )
        self._now: Intake
        self._view: View | None = None
        # Nothing is added to the generation any more: something that it lacks was passed over.
        self._is_left_behind = False
        self._goal: Mapping[int, int] = {}
        self._catalog_at = time.monotonic()

    @property
    def has_caught_up(self) -> bool:
        """Whether all is readable that was in the queue when it was opened, or as much of it as memory has room for."""
        if self._view is None:
            return False
        offsets = self._now.admitted
        return self._is_full() or all(offsets.get(p, 0) >= end for p, end in self._goal.items())

    async def open(self) -> None:
        """Make the first generation, of files alone; wait for backends that are away.

        Raises:
            ConfigurationError: the queue is not the one that the catalog was fed from, or has lost records.
        """
        await until_available(self._open, self._meter, "read_retries_total")

    async def run(self) -> None:
        """Follow until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_on)
            tasks.start_soon(self._turn_on)

    async def view(self) -> View:
        """Return the newest generation, with what has been read."""
        if self._view is None:
            raise UnavailableError("what is readable is not known yet: ask again in a moment", retry_after_s=2)
        age_s = time.monotonic() - self._catalog_at
        if age_s > self._config.stale_s:
            raise UnavailableError(f"the catalog has not answered for {age_s:.0f} s", retry_after_s=3)
        return self._view

    async def _open(self) -> None:
        known_id, watermarks = await self._catalog.watermarks()
        self._goal = await self._queue.end_offsets()
        check_queue(self._queue.queue_id, self._goal, known_id, watermarks)
        snapshot = await self._snapshot_and_what_it_holds(())
        self._ahead.go_on(snapshot)
        self._now = self._generation(snapshot)
        self._publish()

    async def _snapshot_and_what_it_holds(self, known: Collection[UUID]) -> Snapshot:
        """Return the newest snapshot, and remember what is in it but for ``known`` files."""
        # In this order: a body that is known must be in the snapshot's files.
        bodies = await self._catalog.bodies(self._config.dedupe_bodies)
        snapshot = await self._snapshot()
        fresh = replace(snapshot, files=tuple(file for file in snapshot.files if file.id not in known))
        await recent_rows(fresh, self._storage, self._config.dedupe_reload_spans, self._below.note, self._sound)
        self._ahead.know(bodies)
        return snapshot

    async def _snapshot(self) -> Snapshot:
        snapshot = await self._catalog.snapshot()
        self._catalog_at = time.monotonic()
        return snapshot

    def _generation(self, snapshot: Snapshot) -> Intake:
        lineage = Lineage(self._config.tree_slots)
        remembered = Remembered(IdentityFilter(self._config.dedupe_spans), lineage, self._below)
        return Intake(self._index, snapshot, remembered, sound=self._sound, meter=self._meter)

    def _publish(self) -> None:
        self._view = View(self._now.snapshot, self._now.state())

    # -- from the queue to the generation ---------------------------------------------------------

    async def _read_on(self) -> None:
        while True:
            started = time.monotonic()
            fresh = None if self._is_full() or self._ahead.is_overtaken else await self._ahead.read()
            if fresh is None:
                await anyio.sleep(self._config.poll_s)
                continue
            now = self._now
            if not self._is_left_behind:
                await now.admit(fresh)
                if now is self._now:  # else the next generation has it, too
                    self._publish()
            if not self._ahead.has_more:
                await anyio.sleep(pause_s(time.monotonic() - started, self._config.chunk_interval_s))

    def _is_full(self) -> bool:
        return self._ahead.nbytes >= self._config.live_bytes

    # -- from one generation to the next ----------------------------------------------------------

    async def _turn_on(self) -> None:
        pause_s = self._config.turn_s
        while True:
            await self._wait(pause_s)
            if not (self._is_full() or self._ahead.is_overtaken or await self._news.is_due()):
                continue
            began = time.monotonic()
            try:
                if await self._catalog.version() == self._now.snapshot.version:
                    self._catalog_at = began
                    continue
                await self._turn(await self._next_snapshot())
            except UnavailableError as error:
                _log.warning("the catalog cannot be followed", extra={"error": str(error)})
                self._news.again()
                continue
            took_s = time.monotonic() - began
            self._meter.observe("turn_seconds", took_s)
            pause_s = min(max(self._config.turn_s, _REST * took_s), self._config.longest_turn_s)

    async def _wait(self, pause_s: float) -> None:
        """Wait until the next turn is due: sooner where nothing can be read before it."""
        began = time.monotonic()
        while (waited_s := time.monotonic() - began) < pause_s:
            if (self._is_full() or self._ahead.is_overtaken) and waited_s >= self._config.turn_s:
                return
            await anyio.sleep(self._config.poll_s)
            self._tell()

    async def _next_snapshot(self) -> Snapshot:
        """Return the newest snapshot; if it is beyond what has been read, go on from there."""
        snapshot = await self._snapshot()
        if not self._is_beyond(snapshot):
            return snapshot
        async with self._ahead.reading:
            known = {file.id for file in self._now.snapshot.files}
            snapshot = await self._snapshot_and_what_it_holds(known)
            self._is_left_behind = True
            self._ahead.go_on(snapshot)
        return snapshot

    def _is_beyond(self, snapshot: Snapshot) -> bool:
        read = self._ahead.offsets
        return any(offset > read.get(partition, 0) for partition, offset in snapshot.watermarks.items())

    async def _turn(self, snapshot: Snapshot) -> None:
        """Make the generation of a snapshot, of all that was read, and put it in the place of the one there is."""
        for batch in await self._ahead.sink(snapshot.watermarks):
            self._below.sink(batch)
        following = self._generation(snapshot)
        done = 0
        while done < len(self._ahead.batches):
            await following.admit(self._ahead.batches[done])
            done += 1
        async with self._ahead.reading:  # what came meanwhile
            for batch in self._ahead.batches[done:]:
                await following.admit(batch)
            self._now, self._is_left_behind, self._ahead.is_overtaken = following, False, False
            self._publish()

    def _tell(self) -> None:
        now = time.monotonic()
        self._meter.gauge("lag_seconds", max(0.0, now - self._ahead.caught_up_at - _UNNOTICED_S))
        self._meter.gauge("snapshot_age_seconds", now - self._catalog_at)
        self._meter.gauge("live_bytes", self._ahead.nbytes)
