"""The chunks that will become one segment file, and what they replace while they wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from agenttrace_core.model.segment import OffsetRange, Superseded
from agenttrace_core.ports.live import LiveChunk
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import LIGHT, LOGS, ROWS
from agenttrace_core.schema.traces import negated, trace_sums
from agenttrace_core.services.tail import Batch, Letter


@dataclass(frozen=True, slots=True)
class SealedRows:
    """The rows of a group that go into a file, in order of arrival; ``place`` says, by chunk, where its rows are."""

    rows: pa.Table
    place: Mapping[str, Int64s]


@dataclass(slots=True)
class LiveGroup:
    """Chunks in order of arrival. ``dead`` are rows of them that a later version of the span replaced.

    ``suspects`` are the traces, by project, of which a row of this group may have replaced a row of
    a file; ``superseded`` are the rows of files that it did replace. ``late_dead`` are rows that
    died after the group was handed to the flush; they go into the file, and are superseded there.
    """

    chunks: dict[str, LiveChunk] = field(default_factory=dict)
    dead: dict[str, set[int]] = field(default_factory=dict)
    late_dead: dict[str, set[int]] = field(default_factory=dict)
    sealed: bool = False
    suspects: dict[str, set[str]] = field(default_factory=dict)
    superseded: list[Superseded] = field(default_factory=list)
    ranges: dict[int, OffsetRange] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
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

    def add_chunk(self, chunk: LiveChunk) -> None:
        """Append a chunk."""
        self.chunks[chunk.id] = chunk
        self.raw_bytes += chunk.rows["span"].nbytes + chunk.logs["record"].nbytes

    def kill(self, chunk_id: str, rows: Iterable[int]) -> None:
        """Mark rows of a chunk as replaced, and take what they added out of the chunk's sums."""
        chunk = self.chunks[chunk_id]
        dead = self.dead.setdefault(chunk_id, set())
        fresh = sorted(set(rows) - dead)
        if not fresh:
            return
        dead.update(fresh)
        if self.sealed:
            self.late_dead.setdefault(chunk_id, set()).update(fresh)
        taken_back = negated(trace_sums(chunk.rows.select(LIGHT.names).take(pa.array(fresh))))
        self.chunks[chunk_id] = replace(chunk, traces=pa.concat_tables([chunk.traces, taken_back]))

    def replace_chunks(self, mapped: Mapping[str, LiveChunk]) -> None:
        """Let go of our own copies of tables that readers now share with us."""
        for chunk_id in self.chunks:
            self.chunks[chunk_id] = mapped[chunk_id]

    def seal(self) -> SealedRows:
        """Return the rows that go into the file; what dies from now on is ``late_dead``."""
        self.sealed = True
        tables: list[pa.Table] = []
        place: dict[str, Int64s] = {}
        base = 0
        for chunk in self.chunks.values():
            alive = np.ones(len(chunk.rows), np.bool_)
            alive[list(self.dead.get(chunk.id, ()))] = False
            place[chunk.id] = base + np.cumsum(alive) - 1
            base += int(alive.sum())
            tables.append(chunk.rows if alive.all() else chunk.rows.filter(pa.array(alive)))
        return SealedRows(pa.concat_tables(tables) if tables else ROWS.empty_table(), place)

    def log_rows(self) -> pa.Table:
        """Return the log records of all chunks."""
        return pa.concat_tables([LOGS.empty_table(), *(chunk.logs for chunk in self.chunks.values())])

    @property
    def offset_ranges(self) -> tuple[OffsetRange, ...]:
        """What was read to make this group, one range a partition, in order."""
        return tuple(sorted(self.ranges.values()))
