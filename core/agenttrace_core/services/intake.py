"""Decoded records among what was there before: which rows count, what they change, and the live state of it all.

Whoever writes files and whoever only reads the queue share this. It begins with a snapshot of the catalog and
goes on with the records above its watermarks, a batch at a time; after each, the snapshot and ``state()`` make
up a view in which every span counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
from anyio import to_thread

from agenttrace_core.model.segment import Snapshot
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.ports.live import LiveChunk, LiveState
from agenttrace_core.ports.metrics import Meter
from agenttrace_core.query.flips import FLIPPING_COLUMNS, flips_of
from agenttrace_core.query.settle import SETTLE_COLUMNS, winners
from agenttrace_core.query.tree import TreeKeys, trace_keys_of_rows
from agenttrace_core.schema.arrays import Bools, UInt64s
from agenttrace_core.schema.keys import identity_hashes
from agenttrace_core.schema.traces import SUMMED_COLUMNS, trace_sums
from agenttrace_core.services.decoded import Decoded
from agenttrace_core.services.flush import EncodedGroup, superseded_late, superseded_rows
from agenttrace_core.services.lineage import RECALL_COLUMNS, Lineage
from agenttrace_core.services.live_group import LiveGroup, SealedRows
from agenttrace_core.services.memory_of_writes import IdentityFilter
from agenttrace_core.services.retry import until_available
from agenttrace_core.services.sound_files import SoundFiles

_SETTLING_COLUMNS = tuple(
    dict.fromkeys(("trace_id", *SETTLE_COLUMNS, *SUMMED_COLUMNS, *FLIPPING_COLUMNS, *RECALL_COLUMNS))
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is remembered of the spans that came before: caches, all of them.

    Attributes:
        spans: identities of the newest, by which a later version is met with suspicion.
        lineage: trees that are still growing.
        below: what is known of the snapshot's files besides, where more than one intake shares that.
    """

    spans: IdentityFilter
    lineage: Lineage
    below: Below | None = None

    def note(self, rows: pa.Table) -> None:
        """Note that spans exist, of which nothing else is remembered. Takes its time."""
        self.spans.add(identity_hashes(rows))
        self.lineage.seen(trace_keys_of_rows(rows))

    def forgotten(self, keys: TreeKeys) -> Bools:
        """Mark the rows of a batch whose traces are to be read back."""
        return self.lineage.forgotten(keys, None if self.below is None else self.below.traces)

    def repeated(self, hashes: UInt64s) -> Bools:
        """Mark the rows of a batch that may be of spans that came before, or come twice in it; remember them all."""
        repeated = self.spans.suspects(hashes) | _repeated_within(hashes)
        if self.below is not None:
            repeated |= self.below.spans.suspects(hashes)
        self.spans.add(hashes)
        return repeated


@dataclass(frozen=True, slots=True)
class Below:
    """Identities of the newest spans in files, and the traces that they are of."""

    spans: IdentityFilter
    traces: IdentityFilter

    def note(self, rows: pa.Table) -> None:
        """Note that spans are in files. Takes its time."""
        self.spans.add(identity_hashes(rows))
        self.traces.add(np.unique(trace_keys_of_rows(rows)))

    def sink(self, decoded: Decoded) -> None:
        """Note that a batch is."""
        self.spans.add(decoded.hashes)
        self.traces.add(np.unique(decoded.keys.trace))


class Intake:
    """Takes batches in, in the order of each partition.

    Not safe for concurrent use: whoever has it sees to it that one call ends before the next begins.

    Args:
        index: finds the other versions of a span; attached to the storage, and open.
        snapshot: what is in files.
        remembered: what is known of it beforehand.
        sound: finds out which files are damaged: what they say of a trace is not waited for.
        meter: is told of rows that flip, and traces that are read back.
    """

    def __init__(
        self, index: SpanIndex, snapshot: Snapshot, remembered: Remembered, *, sound: SoundFiles, meter: Meter
    ) -> None:
        self.snapshot = snapshot
        self.current = LiveGroup()
        # By partition, what is in chunks or below the watermark: a batch that is still being decoded is not.
        self.admitted: dict[int, int] = dict(snapshot.watermarks)
        self._index, self._sound = index, sound
        self._remembered, self._lineage = remembered, remembered.lineage
        self._meter = meter
        self._epoch = uuid4().hex
        self._chunk_number = 0
        # A writer has at most two: one that is being stored, and one that is encoded meanwhile.
        self._sealed: list[LiveGroup] = []

    async def admit(self, decoded: Decoded) -> None:
        """Add a batch to the live state."""
        batch, group = decoded.batch, self.current
        group.absorb(batch)
        if len(batch.rows) or len(batch.logs):
            await self._recall(_traces_of(batch.rows, self._remembered.forgotten(decoded.keys)))
            placed = await to_thread.run_sync(self._lineage.place, batch.rows, decoded.keys)
            self._chunk_number += 1
            sums = await to_thread.run_sync(trace_sums, placed.rows)
            name = f"{self._epoch[:8]}-{self._chunk_number}"
            chunk = LiveChunk(name, batch.ranges, placed.rows, sums, batch.logs, group.take_flips(), placed.contexts)
            group.add_chunk(chunk)
            repeated = self._remembered.repeated(decoded.hashes)
            for project, traces in _traces_of(batch.rows, repeated).items():
                group.suspects.setdefault(project, set()).update(traces)
            await self._settle(group, _traces_of(batch.rows, repeated | placed.suspects))
            if group.flips:
                flips = pa.concat_tables([chunk.flips, group.take_flips()])
                group.chunks[name] = replace(group.chunks[name], flips=flips)
        self.admitted |= {r.partition: r.next for r in batch.ranges}

    async def adopt(self, snapshot: Snapshot) -> None:
        """Go on with a newer snapshot; of files that were replaced, find the superseded rows where they are now."""
        self.snapshot = snapshot
        groups = [group for group in self._groups() if group.superseded]
        coming = {group.becomes for group in self._groups()}
        live = {file.id for file in snapshot.files} if groups else set[UUID]()
        for group in groups:
            if any(s.file_id not in live and s.file_id not in coming for s in group.superseded):
                group.superseded[:] = [s for s in group.superseded if s.file_id in coming]
                await self._settle(group, group.suspects)

    def hand_on(self, group: LiveGroup, encoded: EncodedGroup) -> None:
        """Leave it to later groups to say which rows of a sealed one they have replaced.

        So a commit says nothing of records that are not in it, which a reader of the queue may not have read yet.
        """
        for by in self._groups():
            deaths = [death for death in group.late_dead if death.by is by and by is not group]
            if deaths:
                by.superseded += superseded_late(encoded, deaths)
                for project, traces in _traces_of(pa.concat_tables([death.light for death in deaths])).items():
                    by.suspects.setdefault(project, set()).update(traces)
                group.becomes = encoded.files[0].file.id
                group.late_dead = [death for death in group.late_dead if death.by is not by]

    def state(self) -> LiveState:
        """Return what is above the snapshot's watermarks."""
        groups = self._groups()
        return LiveState(
            epoch=self._epoch,
            tail=dict(self.admitted),
            chunks=tuple(chunk for g in groups for chunk in g.chunks.values()),
            dead={chunk: tuple(sorted(rows)) for g in groups for chunk, rows in g.dead.items()},
            superseded=tuple(s for g in groups for s in g.superseded),
        )

    def replace_chunks(self, published: LiveState) -> None:
        """Take over the tables of chunks as they were published: see ``LiveTable.publish``."""
        mapped = {chunk.id: chunk for chunk in published.chunks}
        for group in self._groups():
            group.replace_chunks(mapped)

    def seal(self) -> tuple[LiveGroup, SealedRows]:
        """Begin another group, and return the one before and what of it goes into a file."""
        group, self.current = self.current, LiveGroup()
        self._sealed.append(group)
        rows = group.seal()
        if len(rows.rows) == 0 and len(rows.flips):
            self.current.flips.append(rows.flips)  # a group whose rows have all died makes no file
        return group, rows

    async def committed(self, group: LiveGroup, snapshot: Snapshot) -> None:
        """Forget a sealed group, which ``snapshot`` has in files."""
        self._sealed.remove(group)
        await self.adopt(snapshot)

    def _groups(self) -> list[LiveGroup]:
        return [*self._sealed, self.current]

    async def _settle(self, group: LiveGroup, suspects: Mapping[str, set[str]]) -> None:
        """Look at the traces of ``group``'s suspects whole: find rows to be replaced or flipped, and mark them."""
        if not suspects:
            return
        view = View(self.snapshot, self.state())
        for project, traces in suspects.items():
            rows, lost = await self._versions(view, project, traces)
            sources = np.array(lost["source"].to_pylist(), object)
            numbers = lost["row"].to_numpy()
            for source in dict.fromkeys(sources):
                mine = sources == source
                owner = self._owner(source)
                light = lost.filter(pa.array(mine))
                if owner is not None:
                    owner.kill(source, numbers[mine], light, group)
                else:
                    group.superseded += superseded_rows(UUID(source), light, numbers[mine])
                    group.suspects.setdefault(project, set()).update(light["trace_id"].to_pylist())
            flips = await to_thread.run_sync(flips_of, rows)
            if len(flips):
                self.current.flips.append(flips)
                self._meter.count("flipped_rows_total", len(flips))
            await to_thread.run_sync(partial(self._lineage.recall, project, traces, rows, lost, forgotten=False))

    async def _recall(self, forgotten: Mapping[str, set[str]]) -> None:
        """Read back traces that were begun too long ago, or by a writer before us."""
        if not forgotten:
            return
        view = View(self.snapshot, self.state())
        for project, traces in forgotten.items():
            rows, lost = await self._versions(view, project, traces)
            await to_thread.run_sync(partial(self._lineage.recall, project, traces, rows, lost, forgotten=True))
            self._meter.count("recalled_traces_total", len(traces))

    async def _versions(self, view: View, project: str, traces: set[str]) -> tuple[pa.Table, pa.Table]:
        """Return the rows of some traces that count, and those that do not, as they are by now."""
        read = partial(self._read, view, project, sorted(traces))
        rows = await until_available(read, self._meter, "read_retries_total")
        wins = await to_thread.run_sync(winners, rows)
        return rows.filter(pa.array(wins)), rows.filter(pa.array(~wins))

    async def _read(self, view: View, project: str, traces: list[str]) -> pa.Table:
        read = partial(self._index.versions, project=project, trace_ids=traces, columns=_SETTLING_COLUMNS)
        return await self._sound.read(lambda: read(self._sound.view(view)))

    def _owner(self, chunk_id: str) -> LiveGroup | None:
        return next((g for g in self._groups() if chunk_id in g.chunks), None)


def _repeated_within(hashes: UInt64s) -> Bools:
    """Mark the hashes that occur more than once."""
    order = np.argsort(hashes)
    same = hashes[order][1:] == hashes[order][:-1]
    repeated = np.zeros(len(hashes), np.bool_)
    repeated[order[1:][same]] = True
    repeated[order[:-1][same]] = True
    return repeated


def _traces_of(rows: pa.Table, which: Bools | None = None) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    if which is not None and not which.any():
        return found
    some = rows.select(["project", "trace_id"])
    if which is not None:
        some = some.filter(pa.array(which))
    for project, trace in zip(some["project"].to_pylist(), some["trace_id"].to_pylist(), strict=True):
        found.setdefault(project, set()).add(trace)
    return found
