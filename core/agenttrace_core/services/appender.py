"""From a body to records of the queue: one where it can be, several where it must be.

Where a queue has several partitions, a request is divided by trace, so that whoever reads a partition
sees the whole of each trace in it. What is longer than the queue takes is divided by whole spans,
and what cannot be divided goes into the storage, and a reference to it into the queue.

All of this follows from the body and the number of partitions alone: a request that is sent again makes the same
records in the same partitions, where they are known for what they are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio
import xxhash
from anyio import to_thread

from agenttrace_core.errors import InvalidInputError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, Signal, SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.stored_records import Reference
from agenttrace_core.wire.split import by_size, by_trace

_PARTITIONS_KNOWN_S = 60.0
_INLINE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class _Part:
    partition: int | None
    body: bytes


class Appender:
    """Puts bodies into a queue.

    Args:
        queue: where they go.
        storage: where those go that no record can hold. Without it, they are refused.
    """

    def __init__(self, queue: SpanQueue, storage: ObjectStorage | None = None) -> None:
        self._queue = queue
        self._storage = storage
        self._partitions: Sequence[int] = ()
        self._asked_s = float("-inf")

    async def append(self, headers: Headers, body: bytes) -> Sequence[Position]:
        """Store a body, whose spans can all be stored, and return once all of it is durable.

        Raises:
            UnavailableError: some of it could not be made durable. The rest may be in the queue.
            PayloadTooLargeError: a part is longer than the queue takes, and there is no storage.
        """
        partitions = await self._choice()
        limit = self._queue.capabilities.max_record_bytes
        if len(body) <= _INLINE_BYTES:
            parts = _parts(headers.signal, body, partitions, limit)
        else:
            parts = await to_thread.run_sync(_parts, headers.signal, body, partitions, limit)
        if len(parts) == 1:
            return [await self._append(headers, parts[0], limit)]
        return await self._append_all(headers, parts, limit)

    async def _choice(self) -> Sequence[int]:
        """Return the partitions to choose from; none where the queue chooses, or has no choice."""
        if not self._queue.capabilities.addressable:
            return ()
        if time.monotonic() - self._asked_s > _PARTITIONS_KNOWN_S:
            # They hardly ever change. While the queue does not answer, it is the append that has to say so.
            with suppress(UnavailableError):
                self._partitions = sorted(await self._queue.end_offsets())
            if not self._partitions:
                raise UnavailableError("the queue does not say which partitions it has")
            self._asked_s = time.monotonic()
        return self._partitions if len(self._partitions) > 1 else ()

    async def _append_all(self, headers: Headers, parts: Sequence[_Part], limit: int) -> Sequence[Position]:
        """Append parts side by side. All are tried, whatever becomes of one: what is stored is known at the retry."""
        positions: list[Position] = []
        errors: list[Exception] = []

        async def append(part: _Part) -> None:
            try:
                positions.append(await self._append(headers, part, limit))
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            for part in parts:
                tasks.start_soon(append, part)
        if errors:
            raise errors[0]
        return positions

    async def _append(self, headers: Headers, part: _Part, limit: int) -> Position:
        body = part.body
        if len(body) > limit:
            if self._storage is None:
                raise PayloadTooLargeError(f"{len(body)} bytes that cannot be divided; the queue takes at most {limit}")
            reference = Reference.of(headers, body)
            await self._storage.put(reference.object.key, [body])
            headers, body = reference.to_record(headers)
        try:
            return await self._queue.append(headers, body, partition=part.partition)
        except PayloadTooLargeError:
            raise
        except InvalidInputError as error:  # the fault is not the sender's
            self._asked_s = float("-inf")
            raise UnavailableError(f"the queue has other partitions than it had: {error}") from error


def ends_of(positions: Sequence[Position]) -> Mapping[int, int]:
    """Return, by partition, where the last of some records ends."""
    ends: dict[int, int] = {}
    for position in positions:
        ends[position.partition] = max(position.next_offset, ends.get(position.partition, 0))
    return ends


def _parts(signal: Signal, body: bytes, partitions: Sequence[int], limit: int) -> Sequence[_Part]:
    if signal is Signal.TRACES and partitions:
        divided = by_trace(body, len(partitions))
        return [_Part(partitions[number], piece) for number, part in divided.items() for piece in by_size(part, limit)]
    pieces = [body] if signal is Signal.REFUSED else by_size(body, limit)
    return [_Part(_partition_of(piece, partitions), piece) for piece in pieces]


def _partition_of(body: bytes, partitions: Sequence[int]) -> int | None:
    return partitions[xxhash.xxh3_64_intdigest(body) % len(partitions)] if partitions else None
