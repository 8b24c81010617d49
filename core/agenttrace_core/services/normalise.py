"""Runs the rules of now over files that older ones made, while everything stays readable and is written on.

A file is written again alone: the same rows, at the same level, with the columns that rules and prices of now
give their payloads, and put in its place in one transaction of the catalog. What newer files say of whether its
rows count (see ``query.amend``) is put onto the rows at once, because it says so in tokens; those newer files are
written again without it, in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import anyio
import numpy as np
import pyarrow as pa
from anyio import to_thread

from agenttrace_core.errors import ConflictError
from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.normalise.rules import VERSION
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.query.amend import ARRIVAL, arrival_keys
from agenttrace_core.query.tree import place_of
from agenttrace_core.schema.arrays import UInt64s
from agenttrace_core.schema.files import SinkFactory, SpansFileWriter, memory_sink
from agenttrace_core.schema.grams import GramsBuilder
from agenttrace_core.schema.tables import FLIPS
from agenttrace_core.services.absorber import Absorber
from agenttrace_core.services.claims import Claims, short_id
from agenttrace_core.services.failpoint import Failpoint, no_failpoint
from agenttrace_core.services.flush import EncodedFile, change_objects, encoded_file, store_files
from agenttrace_core.services.merge_input import MergeInput, pieces
from agenttrace_core.services.renormalised import renormalised
from agenttrace_core.services.sources import open_source, open_table

_log = logging.getLogger(__name__)
_ATTEMPTS = 5
_CLAIMED_S = 1.0
"""How long what others are at work on is left alone before it is looked at again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files: those with a span that starts at ``since_ns`` or later and before ``until_ns``, of ``project``."""

    since_ns: int
    until_ns: int | None = None
    project: str | None = None

    def holds(self, file: SegmentFile) -> bool:
        """Whether a file of spans has any such span."""
        return file.kind is FileKind.SPANS and any(
            segment.max_start_ns >= self.since_ns
            and (self.until_ns is None or segment.min_start_ns < self.until_ns)
            and self.project in (None, segment.project)
            for segment in file.segments
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: rows of files that are done, left out or to do; ``files`` counts those written again."""

    rows: int
    of_rows: int
    files: int
    skipped: int


class NormaliseService:
    """Writes files again that were made by older rules. It may run beside everything else, and be killed.

    Args:
        catalog: says which files there are, and which replace them.
        storage: where they are.
        pricing: the prices that the writer counts with.
        open_sink: where an object grows; by default in memory.
        piece_rows: rows in memory at once, if no trace has more.
        version: of the rules; files of any other are old.
        holder: names this process where several run, or compactors do; see ``Claims``.
        failpoint: called with the name of each step that a crash could part from the next; for tests.
    """

    def __init__(
        self,
        *,
        catalog: MetadataStore,
        storage: ObjectStorage,
        pricing: Pricing = PACKAGE_PRICES,
        open_sink: SinkFactory = memory_sink,
        piece_rows: int = 8_192,
        version: str = VERSION,
        holder: str | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._claims = Claims(catalog, holder)
        self._catalog, self._storage, self._pricing = catalog, storage, pricing
        self._open_sink, self._piece_rows, self._version = open_sink, piece_rows, version
        self._failpoint = failpoint

    async def run(self, wanted: Wanted, tell: Callable[[Progress], None] = lambda _: None) -> Progress:
        """Write every file again that is wanted and old, oldest first; what is merged meanwhile is found again."""
        files = rows = skipped = 0
        passed: set[object] = set()
        while True:
            claimed = await self._claims.of_others()
            old = self._old(await self._catalog.snapshot(), wanted)
            left = [file for file in old if file.id not in passed]
            tell(Progress(rows, rows + sum(file.rows for file in left), files, skipped))
            if not left:
                return Progress(rows, rows, files, skipped)
            free = [file for file in left if short_id(file.id) not in claimed]
            if not free:
                await anyio.sleep(_CLAIMED_S)
                continue
            async with self._claims.on(free[:1]) as is_ours:
                if is_ours:
                    done = await self._normalise(free[0])
                    passed.add(free[0].id)
                    files, rows, skipped = files + done, rows + free[0].rows * done, skipped + (not done)

    def _old(self, snapshot: Snapshot, wanted: Wanted) -> list[SegmentFile]:
        old = [file for file in snapshot.files if file.normaliser != self._version and wanted.holds(file)]
        return sorted(old, key=lambda file: min(segment.min_start_ns for segment in file.segments))

    async def _normalise(self, old: SegmentFile) -> bool:
        """Put a file made by the rules of now in the place of ``old``. False if it is gone: it was merged."""
        for _ in range(_ATTEMPTS):
            snapshot = await self._catalog.snapshot()
            if all(file.id != old.id for file in snapshot.files):
                return False
            replaced, new = await self._made_anew(old, snapshot)
            self._failpoint("encoded")
            try:
                await store_files(new, self._catalog, self._storage)
                self._failpoint("stored")
                await self._catalog.replace([f.id for f in replaced], [f.file for f in new], version=snapshot.version)
            except ConflictError as conflict:
                _log.info("a file changed while it was normalised; once more", extra={"reason": str(conflict)})
                continue
            self._failpoint("replaced")
            return True
        return False

    async def _made_anew(self, old: SegmentFile, snapshot: Snapshot) -> tuple[list[SegmentFile], list[EncodedFile]]:
        own = await self._arrivals(old)
        about_old = [FLIPS.empty_table()]
        others: list[tuple[SegmentFile, pa.Table]] = []
        for file in snapshot.files:
            if file.id == old.id or "flips" not in file.objects:
                continue
            flips = pa.ipc.open_file(await open_source(self._storage, file.objects["flips"])).read_all()
            is_about = place_of(own, arrival_keys(flips)) >= 0
            if is_about.any():
                about_old.append(flips.filter(pa.array(is_about)))
                others.append((file, flips.filter(pa.array(~is_about))))
        new = [await self._written(old, snapshot, pa.concat_tables(about_old), normalise=True)]
        new += [await self._written(file, snapshot, flips, normalise=False) for file, flips in others]
        return [old, *(file for file, _ in others)], [file for file in new if file is not None]

    async def _written(
        self, file: SegmentFile, snapshot: Snapshot, flips: pa.Table, *, normalise: bool
    ) -> EncodedFile | None:
        """Write a file again. ``flips`` are more, if it is normalised, else all that it keeps."""
        source = await MergeInput.open(file, self._storage, superseded=snapshot.superseded)
        if normalise:
            flips = pa.concat_tables([source.changes.flips, flips])
        return await to_thread.run_sync(self._encoded, file, source, flips, normalise)

    def _encoded(self, file: SegmentFile, source: MergeInput, flips: pa.Table, normalise: bool) -> EncodedFile | None:
        """Return the file written again; None if all of its rows have been superseded."""
        grams = GramsBuilder() if "grams" in file.objects else None
        writer = SpansFileWriter(self._open_sink, rollup="rollup" in file.objects, grams=grams)
        absorber = Absorber(flips, source.changes.contexts, source.changes.taken_back)
        for (count,) in pieces([source.keys], self._piece_rows):
            piece = source.take(count)
            absorber.remove(piece.superseded)
            if len(piece.left):
                rows = absorber.absorb(piece.left)
                writer.write(renormalised(rows, self._pricing) if normalise else rows)
        if not writer.rows:
            return None
        spans = writer.finish()
        objects = {**spans.objects, **change_objects(absorber.flips(), absorber.contexts())}
        made_by = self._version if normalise else file.normaliser
        return encoded_file(uuid4(), FileKind.SPANS, file.level, objects, spans.segments, made_by)

    async def _arrivals(self, file: SegmentFile) -> UInt64s:
        """Return the keys of a file's rows by their arrival, ascending."""
        light = await open_table(self._storage, file.objects["light"], list(ARRIVAL))
        return np.sort(arrival_keys(light))
