"""What a follower has read of the queue, and does not know to be in files: decoded once, whatever comes of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import anyio
from anyio import to_thread

from agenttrace_core.errors import UnavailableError
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.normalise.prices.pricing import Pricing
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.decoded import Decoded, decoded
from agenttrace_core.services.memory_of_writes import BodyMemory
from agenttrace_core.services.tail import Read, Tail

_log = logging.getLogger(__name__)


class ReadAhead:
    """Reads on, and keeps what it has read until it is said to be in files.

    Args:
        queue: what is read.
        storage: where bodies are that were too long for it.
        pricing: what calls cost.
        bodies: how many requests are remembered, not to be read twice.
        chunk_bytes: raw bytes that are decoded at once, at the most.
    """

    def __init__(
        self, queue: SpanQueue, storage: ObjectStorage, pricing: Pricing, *, bodies: int, chunk_bytes: int
    ) -> None:
        self._queue, self._storage, self._pricing = queue, storage, pricing
        self._bodies = BodyMemory(bodies)
        self._chunk_bytes = chunk_bytes
        self._offset_base = 0
        self._tail = self._tail_from({})
        self._complaint = ""
        self.batches: list[Decoded] = []
        """All of it, in order; whoever holds ``reading`` sees no more come."""
        self.reading = anyio.Lock()
        """Held while something is read."""
        self.is_overtaken = False
        """What comes next is gone, since writers have committed it: ``go_on`` from a newer snapshot."""
        self.has_more = False
        """More was waiting than what was read last."""
        self.caught_up_at = time.monotonic()
        """When all had been read that there was."""

    @property
    def offsets(self) -> Mapping[int, int]:
        """The next offset to read, by partition."""
        return self._tail.offsets

    @property
    def nbytes(self) -> int:
        """Raw bytes of all that is kept."""
        return sum(batch.nbytes for batch in self.batches)

    def know(self, bodies: Iterable[bytes]) -> None:
        """Leave out from now on what has these hashes, because it is in files."""
        self._bodies.add(bodies)

    def go_on(self, snapshot: Snapshot) -> None:
        """Pass over what a snapshot has in files, and has not been read. Hold ``reading``."""
        read, watermarks = dict(self.offsets), snapshot.watermarks
        self._offset_base = snapshot.offset_base
        self._tail = self._tail_from(read | {p: max(offset, read.get(p, 0)) for p, offset in watermarks.items()})

    async def read(self) -> Decoded | None:
        """Read, decode and keep what there is; None if that is nothing."""
        async with self.reading:
            before, began = self.offsets, time.monotonic()
            try:
                read = await self._tail.read(self._chunk_bytes)
                self.is_overtaken = bool(read.unresolved) or await self._is_trimmed(read)
            except UnavailableError as error:
                self._complain(f"the queue cannot be followed: {error}")
                self._tail = self._tail_from(before)
                return None
            self._complain("")
            if self.is_overtaken:
                self._tail = self._tail_from(before)
                return None
            self.has_more = read.more
            if not read.more:
                self.caught_up_at = began
            if not read.ranges:
                return None
            fresh = await to_thread.run_sync(decoded, read, self._bodies, self._pricing)
            self._bodies.add(fresh.batch.bodies)
            self.batches.append(fresh)
            return fresh

    async def sink(self, watermarks: Mapping[int, int]) -> Sequence[Decoded]:
        """Let go of what is below some offsets, and return it; join what is left of little batches."""
        count = len(self.batches)
        cut = partial(_cut, self.batches[:count], watermarks, self._chunk_bytes)
        sunk, self.batches[:count] = await to_thread.run_sync(cut)
        return sunk

    async def _is_trimmed(self, read: Read) -> bool:
        """Whether records were trimmed before those that were read, or all of them, since they are in files."""
        first: dict[int, int] = {}
        for record in read.records:
            first.setdefault(record.position.partition, record.position.offset)
        gaps = {r.partition: r.first for r in read.ranges if first.get(r.partition, r.first) > r.first} | dict(
            read.silent
        )
        if not gaps:
            return False
        begins = await self._queue.begin_offsets()
        return any(begins.get(partition, 0) > offset for partition, offset in gaps.items())

    def _tail_from(self, offsets: Mapping[int, int]) -> Tail:
        return Tail(self._queue, self._storage, offsets, offset_base=self._offset_base)

    def _complain(self, text: str) -> None:
        if text and text != self._complaint:
            _log.warning(text)
        self._complaint = text


def _cut(
    batches: Sequence[Decoded], watermarks: Mapping[int, int], chunk_bytes: int
) -> tuple[list[Decoded], list[Decoded]]:
    """Part batches at the watermarks: return what is below, and what is above, of which little ones are joined."""
    sunk: list[Decoded] = []
    left: list[list[Decoded]] = []
    size = 0
    for batch in batches:
        below, above = batch.parted(watermarks)
        if below.batch.ranges:
            sunk.append(below)
        if not above.batch.ranges:
            continue
        if left and size + above.nbytes <= chunk_bytes:
            left[-1].append(above)
            size += above.nbytes
        else:
            left.append([above])
            size = above.nbytes
    return sunk, [parts[0] if len(parts) == 1 else Decoded.joined(parts) for parts in left]
