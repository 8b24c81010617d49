"""Compaction: many small files into few, each span once, and the deletion of what nothing names any more.

A merge reads its inputs side by side, in the order they are all sorted by, a piece at a time: what it
holds in memory is a few row groups of each input, whatever their size.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import pyarrow as pa
from anyio import to_thread

from agenttrace_core.errors import ArchivedError, ConflictError, CorruptionError, NotFoundError, UnavailableError
from agenttrace_core.model.retention import Retention
from agenttrace_core.model.segment import WINDOW_NS, FileKind, Segment, SegmentFile, Snapshot, Superseded
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.query.settle import winners
from agenttrace_core.schema.attribute_columns import common_keys
from agenttrace_core.schema.files import SinkFactory, SpansFileWriter, memory_sink
from agenttrace_core.schema.grams import GramsBuilder
from agenttrace_core.schema.log_files import LogsFileWriter
from agenttrace_core.services.absorber import Absorber
from agenttrace_core.services.claims import Claims, short_id
from agenttrace_core.services.failpoint import Failpoint, no_failpoint
from agenttrace_core.services.flush import EncodedFile, change_objects, encoded_file, store_files
from agenttrace_core.services.merge_input import Changes, LogInput, MergeInput, pieces
from agenttrace_core.services.news import CatalogNews
from agenttrace_core.services.rule_versions import oldest_rules
from agenttrace_core.services.tiers import PayloadTiers

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
_LOOK_AGAIN_S = 3_600.0
_RESTORED_DAYS = 2
_LEAST_ALONE = 4_096
"""Rows of a file that is worth being written again alone. Fewer are read as quickly as they are."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class CompactConfig:
    """When files are merged, and how long dead ones are kept.

    Attributes:
        fan_in: files of one level and window that are merged at once.
        max_file_bytes: bytes that a merged file should not exceed.
        settle_s: seconds after a window's end at which its files are merged whatever their number.
        grace_s: seconds that a dead file is kept, longer than the longest query.
        interval_s: seconds between two looks at the catalog.
        piece_rows: rows that a merge holds in memory at once, if no trace has more.
        retention: what expires, and is left out of the files that are written again.
    """

    fan_in: int = 8
    max_file_bytes: int = 256 << 20
    settle_s: float = 600.0
    grace_s: float = 300.0
    interval_s: float = 1.0
    piece_rows: int = 16_384
    retention: Retention = field(default_factory=Retention)


def plan(snapshot: Snapshot, config: CompactConfig, now_ns: int) -> Sequence[SegmentFile]:
    """Choose the files of the next merge, oldest window first; empty if none is worth it.

    A file of which something has expired is written again alone, without it. Others are merged with those
    of their window: as soon as there are ``fan_in`` of one level, or more than half as many and no other fits into one
    with them; and all that fit into one when the window is over. What then is still as it was flushed, and not
    short, is written again alone too: only merged files have roll-ups, and tell where a text may be.
    """
    for file in snapshot.files:
        if _expired(file, config, now_ns):
            return [file]
    groups: dict[tuple[FileKind, int, int], list[SegmentFile]] = {}
    for file in snapshot.files:
        window = main_window(file)
        over = now_ns > window + WINDOW_NS + config.settle_s * _NS
        groups.setdefault((file.kind, window, -1 if over else file.level), []).append(file)
    for (_, _, level), files in sorted(groups.items(), key=lambda item: item[0][1:]):
        chosen = _fitting(files, config)
        is_full = len(chosen) == config.fan_in or config.fan_in // 2 < len(chosen) < len(files)
        if (len(chosen) >= 2 and (is_full or level == -1)) or (level == -1 and _is_plain(chosen)):
            return chosen
    return ()


def _is_plain(files: Sequence[SegmentFile]) -> bool:
    """Whether this is one file that questions would be quicker of if it were merged."""
    if len(files) != 1 or files[0].kind is not FileKind.SPANS or files[0].level > 0:
        return False
    return sum(segment.rows for segment in files[0].segments) >= _LEAST_ALONE


def _expired(file: SegmentFile, config: CompactConfig, now_ns: int) -> list[Segment]:
    return [segment for segment in file.segments if config.retention.has_expired(segment, now_ns)]


def main_window(file: SegmentFile) -> int:
    """Return the window that most of a file's rows belong to; 0 for a file without segments."""
    return max(file.segments, key=lambda s: (s.rows, s.window)).window if file.segments else 0


def _fitting(files: list[SegmentFile], config: CompactConfig) -> list[SegmentFile]:
    chosen: list[SegmentFile] = []
    size = 0
    for file in sorted(files, key=lambda f: f.size):
        if len(chosen) == config.fan_in or size + file.size > config.max_file_bytes:
            break
        chosen.append(file)
        size += file.size
    return chosen


class CompactService:
    """Runs compaction and collection over ports alone. Several may run: the catalog lets one of two win.

    Args:
        catalog: says which files there are, and which replace them.
        storage: where they are.
        config: sizes and times.
        news: tells other processes what was merged, and this one when to look.
        open_sink: where a merged object grows; by default in memory.
        tiers: moves payloads by age, where the storage has tiers and they are wanted.
        holder: names this process where several run, so that each merges other files; see ``Claims``.
        meter: what is told while it works.
        failpoint: called with the name of each step that a crash could part from the next; for tests.
    """

    def __init__(
        self,
        *,
        catalog: MetadataStore,
        storage: ObjectStorage,
        config: CompactConfig | None = None,
        news: CatalogNews | None = None,
        open_sink: SinkFactory = memory_sink,
        tiers: PayloadTiers | None = None,
        holder: str | None = None,
        meter: Meter | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._catalog, self._storage = catalog, storage
        self._claims = Claims(catalog, holder)
        self._config = config or CompactConfig()
        self._news = news or CatalogNews()
        self._open_sink = open_sink
        self._tiers = tiers
        self._left_until: dict[UUID, float] = {}
        self._meter: Meter = meter or NoMeter()
        self._failpoint = failpoint

    async def run(self) -> None:
        """Merge and collect until cancelled."""
        while True:
            try:
                merged = await self.merge_once()
                if await self._claims.is_collector():
                    await self.collect()
                    if not merged:
                        await self.move_payloads()
            except UnavailableError as error:
                _log.warning("cannot compact; trying again", extra={"error": str(error)})
                merged = False
            if not merged:
                await self._news.wait(self._config.interval_s)

    async def merge_once(self) -> bool:
        """Do the next merge, if one is due, and say whether there was one to do."""
        claimed = await self._claims.of_others()
        snapshot = await self._catalog.snapshot()
        now = time.monotonic()
        free = tuple(
            f for f in snapshot.files if self._left_until.get(f.id, now) <= now and short_id(f.id) not in claimed
        )
        old = plan(replace(snapshot, files=free), self._config, time.time_ns())
        if not old:
            return False
        async with self._claims.on(old) as is_ours:
            if is_ours:
                await self._put_in_place(snapshot, old)
        return True

    async def _put_in_place(self, snapshot: Snapshot, old: Sequence[SegmentFile]) -> None:
        started = time.monotonic()
        try:
            new = [] if self._is_over(old) else await self._merge(old, snapshot.superseded)
        except ArchivedError as archived:
            await self._leave(old, archived)
            return
        except (CorruptionError, NotFoundError, pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise
            self._leave_unreadable(old, error)
            return
        self._failpoint("merged")
        try:
            await store_files(new, self._catalog, self._storage)
            self._failpoint("stored")
            version = await self._catalog.replace([f.id for f in old], [f.file for f in new], version=snapshot.version)
        except ConflictError as conflict:
            _log.info("a merge came to nothing: its inputs changed meanwhile", extra={"reason": str(conflict)})
            self._meter.count("merge_conflicts_total")
            return
        self._failpoint("replaced")
        await self._news.tell(version)
        self._meter.observe("merge_seconds", time.monotonic() - started)
        self._meter.count("merged_files_total", len(old))
        self._meter.count("merged_rows_total", sum(f.rows for f in old))

    async def move_payloads(self) -> None:
        """Move some payloads to where they belong by their age."""
        if self._tiers is not None:
            await self._tiers.move_some(await self._catalog.snapshot(), time.time_ns())

    async def _leave(self, old: Sequence[SegmentFile], archived: ArchivedError) -> None:
        """Leave a file for later whose payload is archived. It is restored only if something of it has to go."""
        file = next(f for f in old if any(item.key == archived.key for item in f.objects.values()))
        self._left_until[file.id] = time.monotonic() + _LOOK_AGAIN_S
        if self._tiers is not None and _expired(file, self._config, time.time_ns()):
            await self._tiers.storage.restore(archived.key, days=_RESTORED_DAYS, is_urgent=False)
        _log.info("a file is not merged, as it is archived", extra={"key": archived.key})

    def _leave_unreadable(self, old: Sequence[SegmentFile], error: Exception) -> None:
        """Leave files for later of which one is damaged or gone: all others are still to be merged, and to expire."""
        for file in old:
            self._left_until[file.id] = time.monotonic() + _LOOK_AGAIN_S
        self._meter.count("unreadable_files_total", len(old))
        names = [str(file.id) for file in old]
        _log.error("files are not merged, as one cannot be read", extra={"files": names, "error": str(error)})

    async def collect(self) -> int:
        """Delete objects that have been dead for long enough. Return how many."""
        dead = await self._catalog.condemned(grace_s=self._config.grace_s)
        for stored in dead:
            await self._storage.delete(stored.key)
        if dead:
            self._failpoint("deleted")
            await self._catalog.forget([stored.key for stored in dead])
            self._meter.count("deleted_objects_total", len(dead))
        return len(dead)

    def _is_over(self, old: Sequence[SegmentFile]) -> bool:
        """Whether nothing is left of a file, which need not be read then: its payload may be archived."""
        (file, *others) = old
        says_something = not file.objects.keys().isdisjoint(("flips", "contexts"))
        expired = _expired(file, self._config, time.time_ns())
        return not others and not says_something and len(expired) == len(file.segments)

    async def _merge(self, old: Sequence[SegmentFile], superseded: Sequence[Superseded]) -> list[EncodedFile]:
        merge = self._merge_spans if old[0].kind is FileKind.SPANS else self._merge_logs
        return await merge(old, superseded)

    async def _merge_spans(self, old: Sequence[SegmentFile], superseded: Sequence[Superseded]) -> list[EncodedFile]:
        now_ns = time.time_ns()
        inputs = [
            await MergeInput.open(
                file, self._storage, superseded=superseded, expired=_expired(file, self._config, now_ns)
            )
            for file in old
        ]
        return await to_thread.run_sync(self._merged, inputs, _next_level(old), oldest_rules(old))

    def _merged(self, inputs: Sequence[MergeInput], level: int, normaliser: str) -> list[EncodedFile]:
        known = [source.attribute_keys for source in inputs if source.attribute_keys is not None]
        keys = common_keys(known) if known else None
        writer = SpansFileWriter(self._open_sink, attribute_keys=keys, rollup=True, grams=GramsBuilder())
        changes = Changes.of_all(inputs)
        absorber = Absorber(changes.flips, changes.contexts, changes.taken_back)
        for rows in _settled(inputs, self._config.piece_rows, absorber):
            writer.write(rows)
        if not writer.rows:
            return []
        spans = writer.finish()
        flips = _unexpired(absorber.flips(), self._config.retention, time.time_ns())
        objects = {**spans.objects, **change_objects(flips, absorber.contexts())}
        return [encoded_file(uuid4(), FileKind.SPANS, level, objects, spans.segments, normaliser)]

    async def _merge_logs(self, old: Sequence[SegmentFile], superseded: Sequence[Superseded]) -> list[EncodedFile]:
        del superseded  # log records have no versions
        now_ns = time.time_ns()
        inputs = [
            await LogInput.open(file, self._storage, expired=_expired(file, self._config, now_ns)) for file in old
        ]
        return await to_thread.run_sync(self._merged_logs, inputs, _next_level(old))

    def _merged_logs(self, inputs: Sequence[LogInput], level: int) -> list[EncodedFile]:
        writer = LogsFileWriter(self._open_sink)
        for counts in pieces([i.keys for i in inputs], self._config.piece_rows):
            rows = pa.concat_tables([source.take(count) for source, count in zip(inputs, counts, strict=True) if count])
            if len(rows):
                writer.write(rows)
        if not writer.rows:
            return []
        logs = writer.finish()
        return [encoded_file(uuid4(), FileKind.LOGS, level, logs.objects, logs.segments)]


def _settled(inputs: Sequence[MergeInput], piece_rows: int, absorber: Absorber) -> Iterator[pa.Table]:
    """Yield the inputs' rows in pieces that do not overlap, each span in the version that counts, as it is by now."""
    for counts in pieces([i.keys for i in inputs], piece_rows):
        taken = [source.take(count) for source, count in zip(inputs, counts, strict=True) if count]
        for piece in taken:
            absorber.remove(piece.superseded)
            absorber.leave(piece.expired)
        rows = pa.concat_tables([piece.left for piece in taken])
        if len(rows):
            counting = winners(rows)
            if not counting.all():
                absorber.leave(rows.filter(pa.array(~counting)))
                rows = rows.filter(pa.array(counting))
            yield absorber.absorb(rows)


def _unexpired(flips: pa.Table, retention: Retention, now_ns: int) -> pa.Table:
    """Leave out flips of rows that expire by now, or have."""
    if len(flips) == 0:
        return flips
    told = zip(flips["project"].to_pylist(), flips["window"].to_pylist(), strict=True)
    return flips.filter(pa.array([not retention.is_over(project, window, now_ns) for project, window in told]))


def _next_level(old: Sequence[SegmentFile]) -> int:
    return 1 + max(file.level for file in old)
