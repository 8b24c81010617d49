"""The chunks that will become one segment file, and what they replace while they wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np
import pyarrow as pa

from agenttrace_core.model.segment import OffsetRange, Superseded
from agenttrace_core.ports.live import LiveChunk
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, LIGHT, LIGHT_ROWS, LOGS, ROWS
from agenttrace_core.schema.traces import negated, trace_sums
from agenttrace_core.services.tail import Batch, Letter


@dataclass(frozen=True, slots=True)
class SealedRows:
    """What of a group goes into a file.

    ``rows`` are in order of arrival; ``place`` says, by chunk, where its rows are. ``flips`` and ``contexts``
    are of all chunks; ``dead`` are the light rows that stay behind.
    """

    rows: pa.Table
    place: Mapping[str, Int64s]
    flips: pa.Table
    contexts: pa.Table
    dead: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class LateDeath:
    """Rows of a chunk that died after its group was handed to the flush, by a row of the group ``by``.

    ``light`` is what they were by then.
    """

    chunk: str
    rows: Int64s
    light: pa.Table
    by: LiveGroup


@dataclass(slots=True, eq=False)
class LiveGroup:
    """Chunks in order of arrival. ``dead`` are rows of them that a later version of the span replaced.

    ``suspects`` are the traces, by project, of which a row of this group may have replaced a row of
    a file; ``superseded`` are the rows of files that it did replace. ``late_dead`` are rows that
    died after the group was handed to the flush; they go into the file, and are superseded there. ``becomes`` is
    the file's id, once other groups name it. ``flips`` are such as no chunk has yet.
    ``objects`` are keys of records' bodies that are not needed once the group is in files.
    """

    chunks: dict[str, LiveChunk] = field(default_factory=dict)
    dead: dict[str, set[int]] = field(default_factory=dict)
    late_dead: list[LateDeath] = field(default_factory=list)
    becomes: UUID | None = None
    flips: list[pa.Table] = field(default_factory=list)
    sealed: bool = False
    suspects: dict[str, set[str]] = field(default_factory=dict)
    superseded: list[Superseded] = field(default_factory=list)
    ranges: dict[int, OffsetRange] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    raw_bytes: int = 0
    born: float = field(default_factory=time.monotonic)

    def absorb(self, batch: Batch) -> None:
        """Take in everything of a batch but its rows and log records, which are a chunk's."""
        if not self.ranges:
            self.born = time.monotonic()
        for r in batch.ranges:
            known = self.ranges.get(r.partition)
            self.ranges[r.partition] = replace(known, next=r.next) if known else r
        self.letters.extend(batch.letters)
        self.bodies.extend(batch.bodies)
        self.objects.extend(batch.objects)

    def add_chunk(self, chunk: LiveChunk) -> None:
        """Append a chunk."""
        self.chunks[chunk.id] = chunk
        self.raw_bytes += chunk.rows["span"].nbytes + chunk.logs["record"].nbytes

    def kill(self, chunk_id: str, rows: Int64s, light: pa.Table, by: LiveGroup) -> None:
        """Mark rows of a chunk as replaced ``by`` a group's, and take back what they count for by now (``light``)."""
        chunk = self.chunks[chunk_id]
        self.dead.setdefault(chunk_id, set()).update(rows.tolist())
        if self.sealed:
            self.late_dead.append(LateDeath(chunk_id, rows, light, by))
        traces = pa.concat_tables([chunk.traces, negated(trace_sums(light))])
        self.chunks[chunk_id] = replace(chunk, traces=traces)

    def take_flips(self) -> pa.Table:
        """Return the flips that no chunk has, to be put into one."""
        flips, self.flips = self.flips, []
        return pa.concat_tables([FLIPS.empty_table(), *flips])

    def replace_chunks(self, mapped: Mapping[str, LiveChunk]) -> None:
        """Let go of our own copies of tables that readers now share with us."""
        for chunk_id in self.chunks:
            self.chunks[chunk_id] = mapped[chunk_id]

    def seal(self) -> SealedRows:
        """Return the rows that go into the file; what dies from now on is ``late_dead``."""
        self.sealed = True
        tables, dead = [ROWS.empty_table()], [LIGHT_ROWS.empty_table()]
        place: dict[str, Int64s] = {}
        base = 0
        for chunk in self.chunks.values():
            alive = np.ones(len(chunk.rows), np.bool_)
            alive[list(self.dead.get(chunk.id, ()))] = False
            place[chunk.id] = base + np.cumsum(alive) - 1
            base += int(alive.sum())
            tables.append(chunk.rows if alive.all() else chunk.rows.filter(pa.array(alive)))
            if not alive.all():
                dead.append(chunk.rows.select(LIGHT.names).filter(pa.array(~alive)))
        chunks = self.chunks.values()
        flips = pa.concat_tables([self.take_flips(), *(chunk.flips for chunk in chunks)])
        contexts = pa.concat_tables([CONTEXTS.empty_table(), *(chunk.contexts for chunk in chunks)])
        return SealedRows(pa.concat_tables(tables), place, flips, contexts, pa.concat_tables(dead))

    def log_rows(self) -> pa.Table:
        """Return the log records of all chunks."""
        return pa.concat_tables([LOGS.empty_table(), *(chunk.logs for chunk in self.chunks.values())])

    @property
    def offset_ranges(self) -> tuple[OffsetRange, ...]:
        """What was read to make this group, one range a partition, in order."""
        return tuple(sorted(self.ranges.values()))
