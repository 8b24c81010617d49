"""The writer: from the queue to the live table at once, and to files when there is enough.

One process at a time writes; the catalog's compare-and-set on the watermarks makes sure of it. A
writer that is killed at any point is followed by one that starts at the watermarks again: what
was committed is below them, what was not is read from the queue once more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TypeVar

import anyio
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from agenttrace_core.errors import ConflictError, UnavailableError, WatermarkConflictError
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.index import SpanIndex
from agenttrace_core.ports.live import LiveTable
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.decoded import decoded
from agenttrace_core.services.failpoint import Failpoint, no_failpoint
from agenttrace_core.services.flush import (
    EncodedGroup,
    commit_of,
    encode_group,
    store_files,
    store_letters,
)  # fmt: skip
from agenttrace_core.services.intake import Intake, Remembered
from agenttrace_core.services.lineage import Lineage
from agenttrace_core.services.live_group import LiveGroup, SealedRows
from agenttrace_core.services.memory_of_writes import BodyMemory, IdentityFilter
from agenttrace_core.services.news import CatalogNews
from agenttrace_core.services.pace import pause_s
from agenttrace_core.services.recent import recent_rows
from agenttrace_core.services.retry import until_available
from agenttrace_core.services.sound_files import SoundFiles
from agenttrace_core.services.tail import Batch, Tail, check_queue

_log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_S = 0.01
"""Between two looks at whether a group is ripe."""
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class WriteConfig:
    """How a writer works.

    Attributes:
        flush_bytes: raw bytes of spans after which a file is written. The live table holds up to
            three times that, and a chunk.
        flush_age_s: seconds after which one is written all the same.
        chunk_bytes: raw bytes that are decoded at once, at the most.
        chunk_interval_s: the least time between two chunks, while less than that is waiting; a busy machine takes up to
            three times as long.
        poll_s: the time between two looks at a queue that has nothing new.
        dedupe_spans: how many of the newest spans are remembered, to find later versions of them at once.
        dedupe_reload_spans: how many of those are read back from files at start.
        dedupe_bodies: how many of the newest requests are remembered, to drop those that are sent again.
        tree_slots: room for spans whose place in their trace's tree is remembered, a power of two: about as many
            of the newest, at 52 bytes each.
    """

    flush_bytes: int = 64 << 20
    flush_age_s: float = 10.0
    chunk_bytes: int = 12 << 20
    chunk_interval_s: float = 0.1
    poll_s: float = 0.01
    dedupe_spans: int = 4_000_000
    dedupe_reload_spans: int = 1_000_000
    dedupe_bodies: int = 100_000
    tree_slots: int = 1 << 20


@dataclass(frozen=True, slots=True)
class _Flush:
    """A sealed group, encoded; ``started`` is when it was sealed, in seconds of the monotonic clock."""

    group: LiveGroup
    rows: SealedRows
    encoded: EncodedGroup
    started: float


class WriteService:
    """Runs one writer over ports alone.

    Args:
        queue: read from the watermarks on, and trimmed below them.
        catalog: where files and watermarks are committed.
        storage: where files are put.
        live: where chunks are published.
        index: finds the other versions of a span; attached to ``storage``, and open.
        config: sizes and times.
        pricing: what calls cost.
        partitions: of the queue, those that are this writer's; all by default.
        news: tells other processes what was committed.
        is_followed: readers follow the queue by themselves, and see nothing of ``live``. They may be behind: a commit
            must then say nothing of records that are not in it. Who reads ``live`` must be told in the same commit.
        meter: what is told while it works.
        failpoint: called with the name of each step that a crash could part from the next; for tests.
    """

    def __init__(
        self,
        *,
        queue: SpanQueue,
        catalog: MetadataStore,
        storage: ObjectStorage,
        live: LiveTable,
        index: SpanIndex,
        config: WriteConfig | None = None,
        pricing: Pricing = PACKAGE_PRICES,
        partitions: Collection[int] | None = None,
        news: CatalogNews | None = None,
        is_followed: bool = False,
        meter: Meter | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._queue, self._catalog, self._storage = queue, catalog, storage
        self._live, self._index = live, index
        self._config = config or WriteConfig()
        self._pricing = pricing
        self._partitions, self._is_followed = partitions, is_followed
        self._news = news or CatalogNews()
        self._meter: Meter = meter or NoMeter()
        self._failpoint = failpoint
        self._sound = SoundFiles(catalog, storage, meter=self._meter)
        self._bodies = BodyMemory(self._config.dedupe_bodies)
        self._remembered = Remembered(IdentityFilter(self._config.dedupe_spans), Lineage(self._config.tree_slots))
        # Held while chunks are added or a flush is committed, so that neither sees half of the other.
        self._changing = anyio.Lock()
        self._has_room = anyio.Event()
        self._draining = False
        self._stopping = False
        self._read_out = False
        self._is_to_end = anyio.Event()
        self._tail: Tail
        self._intake: Intake

    async def run(self, on_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Write until cancelled, or until ``drain`` or ``stop`` is called, and done.

        ``on_ready`` is awaited once the live table has been published. What was written last is read back
        after that, and before the first record: a server serves while it remembers, and says that it lags.

        Raises:
            ConfigurationError: the queue is not the one that the catalog was fed from, or has lost records.
            WatermarkConflictError: another writer has taken over.
        """
        await self._until_available(self._start)
        if on_ready is not None:
            await on_ready()
        limit = self._config.dedupe_reload_spans
        known = partial(recent_rows, self._intake.snapshot, self._storage, limit, self._remembered.note, self._sound)
        await self._until_available(known)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_on)
            tasks.start_soon(self._flush_on)

    def drain(self) -> None:
        """Ask ``run`` to write what is in the queue now, and return."""
        self._draining = True
        self._is_to_end.set()

    def stop(self) -> None:
        """Ask ``run`` to write what it has read, and return: the rest is for whoever comes next."""
        self._stopping = True
        self.drain()

    async def _start(self) -> None:
        known_id, watermarks = await self._catalog.watermarks()
        check_queue(self._queue.queue_id, await self._queue.end_offsets(), known_id, watermarks)
        # In this order: a body that is known must be in the snapshot's files.
        self._bodies.add(await self._catalog.bodies(self._config.dedupe_bodies))
        snapshot = await self._catalog.snapshot()
        self._tail = Tail(
            self._queue,
            self._storage,
            snapshot.watermarks,
            offset_base=snapshot.offset_base,
            partitions=self._partitions,
        )
        self._intake = Intake(self._index, snapshot, self._remembered, sound=self._sound, meter=self._meter)
        await self._publish()

    # -- from the queue to the live table ---------------------------------------------------------

    async def _read_on(self) -> None:
        while True:
            started = time.monotonic()
            await self._room()
            if self._stopping:
                self._read_out = True
                return
            read = await self._until_available(partial(self._tail.read, self._config.chunk_bytes))
            if not read.ranges:
                if self._draining:
                    self._read_out = True
                    return
                await self._rest(self._config.poll_s)
                continue
            fresh = await to_thread.run_sync(decoded, read, self._bodies, self._pricing)
            async with self._changing:
                with suppress(UnavailableError):  # what it said last will do until it is to be changed
                    await self._follow_catalog()
                self._bodies.add(fresh.batch.bodies)
                await self._intake.admit(fresh)
                await self._publish()
            took_s = time.monotonic() - started
            self._tell(fresh.batch, took_s)
            if not read.more:
                await self._rest(pause_s(took_s, self._config.chunk_interval_s))

    async def _rest(self, seconds: float) -> None:
        """Wait, unless this is to end."""
        with anyio.move_on_after(max(0.0, seconds)):
            await self._is_to_end.wait()

    async def _room(self) -> None:
        """Wait while the live table is full: the queue is where a backlog belongs."""
        while self._intake.current.raw_bytes >= self._config.flush_bytes:
            await self._has_room.wait()

    async def _follow_catalog(self) -> None:
        """If somebody else has committed, go on with what there is now."""
        if await self._until_available(self._catalog.version) != self._intake.snapshot.version:
            await self._intake.adopt(await self._until_available(self._catalog.snapshot))

    async def _publish(self) -> None:
        self._intake.replace_chunks(await self._live.publish(self._intake.state()))

    # -- from the live table to files -------------------------------------------------------------

    async def _flush_on(self) -> None:
        """Encode one group while another is stored: the one wants the processor, the other the disk."""
        send, receive = anyio.create_memory_object_stream[_Flush](0)
        async with receive, anyio.create_task_group() as tasks, send:
            tasks.start_soon(self._commit_on, receive)
            while not (self._read_out and not self._intake.current.ranges):
                if self._is_ripe():
                    await send.send(await self._seal())
                else:
                    await anyio.sleep(_LOOK_S)

    async def _commit_on(self, flushes: MemoryObjectReceiveStream[_Flush]) -> None:
        async for flush in flushes:
            await self._finish(flush)

    def _is_ripe(self) -> bool:
        group = self._intake.current
        if not group.ranges:
            return False
        age = time.monotonic() - group.born
        return self._draining or group.raw_bytes >= self._config.flush_bytes or age >= self._config.flush_age_s

    async def _seal(self) -> _Flush:
        started = time.monotonic()
        async with self._changing:
            group, rows = self._intake.seal()
        self._has_room.set()
        self._has_room = anyio.Event()
        encoded = await to_thread.run_sync(encode_group, self._queue.queue_id, group, rows)
        self._failpoint("encoded")
        return _Flush(group, rows, encoded, started)

    async def _finish(self, flush: _Flush) -> None:
        group, started = flush.group, flush.started
        encoded = await self._store(flush)
        self._failpoint("stored")
        await self._commit(group, encoded)
        self._failpoint("committed")
        await self._news.tell(self._intake.snapshot.version)
        with suppress(UnavailableError):  # what is left is trimmed with what comes next, and swept
            for r in group.offset_ranges:
                await self._queue.trim(r.partition, r.next)
            for key in group.objects:
                await self._storage.delete(key)
        self._failpoint("trimmed")
        self._meter.observe("flush_seconds", time.monotonic() - started)
        self._meter.count("written_bytes_total", sum(f.file.size for f in encoded.files))
        self._meter.count("written_files_total", len(encoded.files))

    async def _store(self, flush: _Flush) -> EncodedGroup:
        """Put a group's files, under another name where one was abandoned by a writer before us."""
        encoded = flush.encoded
        for attempt in count(1):
            try:
                await self._until_available(partial(store_files, encoded.files, self._catalog, self._storage))
                break
            except ConflictError as conflict:
                if attempt == _ATTEMPTS:
                    raise
                _log.info("a file of that name was abandoned; taking another", extra={"reason": str(conflict)})
            encoded = await to_thread.run_sync(encode_group, self._queue.queue_id, flush.group, flush.rows, attempt)
        return encoded

    async def _commit(self, group: LiveGroup, encoded: EncodedGroup) -> None:
        letters = await self._until_available(partial(store_letters, group, self._storage))
        for attempt in count():
            async with self._changing:
                await self._follow_catalog()
                if self._is_followed:
                    self._intake.hand_on(group, encoded)
                commit = commit_of(self._queue.queue_id, group, encoded, letters)
                self._failpoint("committing")
                try:
                    # Again and again the same one, which the catalog knows by its id: while nobody can say whether
                    # it went through, nothing else may be decided.
                    await self._until_available(partial(self._catalog.commit, commit))
                except WatermarkConflictError:
                    raise
                except ConflictError as conflict:
                    if attempt == _ATTEMPTS:
                        raise
                    # A file with a superseded row was compacted away between our look and our commit.
                    _log.info("the catalog moved on; looking again", extra={"error": str(conflict)})
                    await self._intake.adopt(await self._until_available(self._catalog.snapshot))
                    continue
                await self._intake.committed(group, await self._until_available(self._catalog.snapshot))
                await self._publish()
                return

    async def _until_available(self, step: Callable[[], Awaitable[T]]) -> T:
        return await until_available(step, self._meter, "flush_retries_total")

    def _tell(self, batch: Batch, seconds: float) -> None:
        self._meter.count("decoded_spans_total", len(batch.rows))
        self._meter.count("repeated_requests_total", batch.repeated)
        self._meter.count("dead_letters_total", len(batch.letters))
        self._meter.observe("chunk_seconds", seconds)
