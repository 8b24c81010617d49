"""The writer: from the queue to the live table at once, and to files when there is enough.

One process at a time writes; the catalog's compare-and-set on the watermarks makes sure of it. A
writer that is killed at any point is followed by one that starts at the watermarks again: what
was committed is below them, what was not is read from the queue once more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TypeVar
from uuid import UUID, uuid4

import anyio
import numpy as np
import pyarrow as pa
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from agenttrace_core.errors import ConflictError, UnavailableError, WatermarkConflictError
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.ports.live import LiveChunk, LiveState, LiveTable
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.query.flips import FLIPPING_COLUMNS, flips_of
from agenttrace_core.query.settle import SETTLE_COLUMNS, winners
from agenttrace_core.query.tree import TreeKeys, trace_keys_of_rows
from agenttrace_core.schema.arrays import UInt64s
from agenttrace_core.schema.keys import identity_hashes
from agenttrace_core.schema.traces import SUMMED_COLUMNS, trace_sums
from agenttrace_core.services.failpoint import Failpoint, no_failpoint
from agenttrace_core.services.flush import (
    EncodedGroup,
    commit_of,
    encode_group,
    store_files,
    store_letters,
    superseded_rows,
)  # fmt: skip
from agenttrace_core.services.lineage import RECALL_COLUMNS, Lineage
from agenttrace_core.services.live_group import LiveGroup, SealedRows
from agenttrace_core.services.memory_of_writes import BodyMemory, IdentityFilter
from agenttrace_core.services.recent import recent_rows
from agenttrace_core.services.tail import Batch, Tail, check_queue, decode

_log = logging.getLogger(__name__)

T = TypeVar("T")

_POLL_S = 0.01
_RETRY_S = 1.0
_ATTEMPTS = 5

_SETTLING_COLUMNS = tuple(
    dict.fromkeys(("trace_id", *SETTLE_COLUMNS, *SUMMED_COLUMNS, *FLIPPING_COLUMNS, *RECALL_COLUMNS))
)


@dataclass(frozen=True, slots=True)
class WriteConfig:
    """How a writer works.

    Attributes:
        flush_bytes: raw bytes of spans after which a file is written. The live table holds up to
            three times that, and a chunk.
        flush_age_s: seconds after which one is written all the same.
        chunk_bytes: raw bytes that are decoded at once, at the most.
        chunk_interval_s: the least time between two chunks, while less than that is waiting.
        dedupe_spans: how many of the newest spans are remembered, to find later versions of them at once.
        dedupe_reload_spans: how many of those are read back from files at start.
        dedupe_bodies: how many of the newest requests are remembered, to drop those that are sent again.
        tree_slots: room for spans whose place in their trace's tree is remembered, a power of two: about as many
            of the newest, at 52 bytes each.
    """

    flush_bytes: int = 64 << 20
    flush_age_s: float = 10.0
    chunk_bytes: int = 8 << 20
    chunk_interval_s: float = 0.1
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
        meter: Meter | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._queue, self._catalog, self._storage = queue, catalog, storage
        self._live, self._index = live, index
        self._config = config or WriteConfig()
        self._pricing = pricing
        self._meter: Meter = meter or NoMeter()
        self._failpoint = failpoint
        self._epoch = uuid4().hex
        self._chunk_number = 0
        self._bodies = BodyMemory(self._config.dedupe_bodies)
        self._seen = IdentityFilter(self._config.dedupe_spans)
        self._lineage = Lineage(self._config.tree_slots)
        self._current = LiveGroup()
        # At most two: one that is being stored, and one that is encoded meanwhile.
        self._sealed: list[LiveGroup] = []
        # Held while chunks are added or a flush is committed, so that neither sees half of the other.
        self._changing = anyio.Lock()
        self._has_room = anyio.Event()
        self._draining = False
        self._read_out = False
        self._tail: Tail
        # By partition, what has been read and is in chunks: a batch that is still being decoded is not.
        self._admitted: dict[int, int] = {}
        self._snapshot: Snapshot

    async def run(self, on_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Write until cancelled, or until ``drain`` is called and all that was in the queue is in files.

        ``on_ready`` is awaited once the live table has been published. What was written last is read back
        after that, and before the first record: a server serves while it remembers, and says that it lags.

        Raises:
            ConfigurationError: the queue is not the one that the catalog was fed from, or has lost records.
            WatermarkConflictError: another writer has taken over.
        """
        await self._start()
        if on_ready is not None:
            await on_ready()
        await recent_rows(self._snapshot, self._storage, self._config.dedupe_reload_spans, self._note_seen)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_on)
            tasks.start_soon(self._flush_on)

    def _note_seen(self, rows: pa.Table) -> None:
        self._seen.add(identity_hashes(rows))
        self._lineage.seen(trace_keys_of_rows(rows))

    def drain(self) -> None:
        """Ask ``run`` to write what is in the queue now, and return."""
        self._draining = True

    async def _start(self) -> None:
        known_id, watermarks = await self._catalog.watermarks()
        check_queue(self._queue.queue_id, await self._queue.end_offsets(), known_id, watermarks)
        self._tail = Tail(self._queue, self._storage, watermarks)
        self._admitted = dict(watermarks)
        self._bodies.add(await self._catalog.bodies(self._config.dedupe_bodies))
        self._snapshot = await self._catalog.snapshot()
        await self._publish()

    # -- from the queue to the live table ---------------------------------------------------------

    async def _read_on(self) -> None:
        while True:
            started = time.monotonic()
            await self._room()
            read = await self._until_available(partial(self._tail.read, self._config.chunk_bytes))
            if not read.ranges:
                if self._draining:
                    self._read_out = True
                    return
                await anyio.sleep(_POLL_S)
                continue
            batch = await to_thread.run_sync(decode, read, self._bodies, self._pricing)
            hashes = await to_thread.run_sync(identity_hashes, batch.rows)
            keys = await to_thread.run_sync(TreeKeys.of, batch.rows)
            async with self._changing:
                await self._follow_catalog()
                await self._admit(batch, hashes, keys)
            self._tell(batch, time.monotonic() - started)
            if sum(len(r.body) for r in read.records) < self._config.chunk_bytes // 2 and not self._draining:
                await anyio.sleep(max(0.0, started + self._config.chunk_interval_s - time.monotonic()))

    async def _room(self) -> None:
        """Wait while the live table is full: the queue is where a backlog belongs."""
        while self._current.raw_bytes >= self._config.flush_bytes:
            await self._has_room.wait()

    async def _admit(self, batch: Batch, hashes: UInt64s, keys: TreeKeys) -> None:
        group = self._current
        group.absorb(batch)
        self._bodies.add(batch.bodies)
        if len(batch.rows) or len(batch.logs):
            await self._recall(_traces_of(batch.rows, self._lineage.forgotten(keys)))
            placed = await to_thread.run_sync(self._lineage.place, batch.rows, keys)
            self._chunk_number += 1
            sums = await to_thread.run_sync(trace_sums, placed.rows)
            name = f"{self._epoch[:8]}-{self._chunk_number}"
            chunk = LiveChunk(name, batch.ranges, placed.rows, sums, batch.logs, group.take_flips(), placed.contexts)
            group.add_chunk(chunk)
            repeated = self._seen.suspects(hashes) | _repeated_within(hashes)
            self._seen.add(hashes)
            for project, traces in _traces_of(batch.rows, repeated).items():
                group.suspects.setdefault(project, set()).update(traces)
            await self._settle(group, _traces_of(batch.rows, repeated | placed.suspects))
            if group.flips:
                flips = pa.concat_tables([chunk.flips, group.take_flips()])
                group.chunks[name] = replace(group.chunks[name], flips=flips)
        self._admitted |= {r.partition: r.next for r in batch.ranges}
        await self._publish()

    async def _settle(self, group: LiveGroup, suspects: Mapping[str, set[str]]) -> None:
        """Look at the traces of ``group``'s suspects whole: find rows to be replaced or flipped, and mark them."""
        view = View(self._snapshot, self._state())
        for project, traces in suspects.items():
            rows, lost = await self._versions(view, project, traces)
            sources = np.array(lost["source"].to_pylist(), object)
            numbers = lost["row"].to_numpy()
            for source in dict.fromkeys(sources):
                mine = sources == source
                owner = self._owner(source)
                light = lost.filter(pa.array(mine))
                if owner is not None:
                    owner.kill(source, numbers[mine], light)
                else:
                    group.superseded += superseded_rows(UUID(source), light, numbers[mine])
            flips = await to_thread.run_sync(flips_of, rows)
            if len(flips):
                self._current.flips.append(flips)
                self._meter.count("flipped_rows_total", len(flips))
            await to_thread.run_sync(partial(self._lineage.recall, project, traces, rows, lost, forgotten=False))

    async def _recall(self, forgotten: Mapping[str, set[str]]) -> None:
        """Read back traces that were begun too long ago, or by a writer before us."""
        view = View(self._snapshot, self._state())
        for project, traces in forgotten.items():
            rows, lost = await self._versions(view, project, traces)
            await to_thread.run_sync(partial(self._lineage.recall, project, traces, rows, lost, forgotten=True))
            self._meter.count("recalled_traces_total", len(traces))

    async def _versions(self, view: View, project: str, traces: set[str]) -> tuple[pa.Table, pa.Table]:
        """Return the rows of some traces that count, and those that do not, as they are by now."""
        rows = await self._index.versions(view, project, sorted(traces), columns=_SETTLING_COLUMNS)
        wins = await to_thread.run_sync(winners, rows)
        return rows.filter(pa.array(wins)), rows.filter(pa.array(~wins))

    def _owner(self, chunk_id: str) -> LiveGroup | None:
        return next((g for g in (*self._sealed, self._current) if chunk_id in g.chunks), None)

    async def _follow_catalog(self) -> None:
        """If somebody else has committed (compaction), find again which rows of its files are superseded."""
        if await self._catalog.version() == self._snapshot.version:
            return
        self._snapshot = await self._catalog.snapshot()
        for group in (*self._sealed, self._current):
            if group.suspects:
                group.superseded.clear()
                await self._settle(group, group.suspects)

    def _state(self) -> LiveState:
        groups = [*self._sealed, self._current]
        return LiveState(
            epoch=self._epoch,
            tail=dict(self._admitted),
            chunks=tuple(chunk for g in groups for chunk in g.chunks.values()),
            dead={chunk: tuple(sorted(rows)) for g in groups for chunk, rows in g.dead.items()},
            superseded=tuple(s for g in groups for s in g.superseded),
        )

    async def _publish(self) -> None:
        published = await self._live.publish(self._state())
        mapped = {chunk.id: chunk for chunk in published.chunks}
        for group in (*self._sealed, self._current):
            group.replace_chunks(mapped)

    # -- from the live table to files -------------------------------------------------------------

    async def _flush_on(self) -> None:
        """Encode one group while another is stored: the one wants the processor, the other the disk."""
        send, receive = anyio.create_memory_object_stream[_Flush](0)
        async with receive, anyio.create_task_group() as tasks, send:
            tasks.start_soon(self._commit_on, receive)
            while not (self._read_out and not self._current.ranges):
                if self._is_ripe():
                    await send.send(await self._seal())
                else:
                    await anyio.sleep(_POLL_S)

    async def _commit_on(self, flushes: MemoryObjectReceiveStream[_Flush]) -> None:
        async for flush in flushes:
            await self._finish(flush)

    def _is_ripe(self) -> bool:
        group = self._current
        if not group.ranges:
            return False
        age = time.monotonic() - group.born
        return self._draining or group.raw_bytes >= self._config.flush_bytes or age >= self._config.flush_age_s

    async def _seal(self) -> _Flush:
        started = time.monotonic()
        async with self._changing:
            group, self._current = self._current, LiveGroup()
            self._sealed.append(group)
            rows = group.seal()
            if len(rows.rows) == 0 and len(rows.flips):
                self._current.flips.append(rows.flips)  # a group whose rows have all died makes no file
        self._has_room.set()
        self._has_room = anyio.Event()
        encoded = await to_thread.run_sync(encode_group, self._queue.queue_id, group, rows)
        self._failpoint("encoded")
        return _Flush(group, rows, encoded, started)

    async def _finish(self, flush: _Flush) -> None:
        group, started = flush.group, flush.started
        encoded = await self._store(flush)
        self._failpoint("stored")
        await self._until_available(lambda: self._commit(group, encoded))
        self._failpoint("committed")
        for r in group.offset_ranges:
            await self._queue.trim(r.partition, r.next)
        with suppress(UnavailableError):  # what is left is swept later
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
        letters = await store_letters(group, self._storage)
        for attempt in count():
            async with self._changing:
                await self._follow_catalog()
                commit = commit_of(self._queue.queue_id, group, encoded, letters)
                self._failpoint("committing")
                try:
                    await self._catalog.commit(commit)
                except WatermarkConflictError:
                    raise
                except ConflictError as conflict:
                    if attempt == _ATTEMPTS:
                        raise
                    # A file with a superseded row was compacted away between our look and our commit.
                    _log.info("the catalog moved on; looking again", extra={"error": str(conflict)})
                    self._snapshot = replace(self._snapshot, version=-1)
                    continue
                self._snapshot = await self._catalog.snapshot()
                self._sealed.remove(group)
                await self._publish()
                return

    async def _until_available(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat an idempotent step until its backend answers; what was acknowledged waits in the queue."""
        while True:
            try:
                return await step()
            except UnavailableError as error:
                self._meter.count("flush_retries_total")
                _log.warning(
                    "a backend does not answer; trying again", extra={"error": str(error), "after_s": _RETRY_S}
                )
                await anyio.sleep(_RETRY_S)

    def _tell(self, batch: Batch, seconds: float) -> None:
        self._meter.count("decoded_spans_total", len(batch.rows))
        self._meter.count("repeated_requests_total", batch.repeated)
        self._meter.count("dead_letters_total", len(batch.letters))
        self._meter.observe("chunk_seconds", seconds)


def _repeated_within(hashes: UInt64s) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the hashes that occur more than once."""
    order = np.argsort(hashes)
    same = hashes[order][1:] == hashes[order][:-1]
    repeated = np.zeros(len(hashes), np.bool_)
    repeated[order[1:][same]] = True
    repeated[order[:-1][same]] = True
    return repeated


def _traces_of(rows: pa.Table, which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    if not which.any():
        return found
    some = rows.select(["project", "trace_id"]).filter(pa.array(which))
    for project, trace in zip(some["project"].to_pylist(), some["trace_id"].to_pylist(), strict=True):
        found.setdefault(project, set()).add(trace)
    return found
