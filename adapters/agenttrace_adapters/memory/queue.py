"""The span queue in memory: for tests, for embedding, and for those who keep nothing."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Self
from uuid import UUID, uuid4

from agenttrace_core.errors import ConfigurationError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, QueueCapabilities, Record, SpanQueue

_RECORD_BYTES = 64
_CAPABILITIES = QueueCapabilities(
    durable=False,
    multi_process=False,
    multi_machine=False,
    addressable=False,
    byte_offsets=True,
    max_record_bytes=1 << 26,
)
_PARTITION = 0
_offset_of = attrgetter("position.offset")


class MemoryQueue(SpanQueue):
    """``memory:``. One partition; every instance is a queue of its own, and gone when it is closed."""

    def __init__(self) -> None:
        self._queue_id = uuid4()
        self._records: list[Record] = []
        self._begin = self._end = 0
        self._opened = False
        self._grown = asyncio.Event()

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from ``memory:``."""
        if url not in ("memory:", "memory://"):
            raise ConfigurationError(f"queue = {url!r}: write memory:, which takes no options")
        return cls()

    @property
    def capabilities(self) -> QueueCapabilities:
        """Neither durable nor shared."""
        return _CAPABILITIES

    @property
    def queue_id(self) -> UUID:
        """New with every instance."""
        return self._queue_id

    async def open(self) -> None:
        """Begin to take records."""
        self._opened = True

    async def aclose(self) -> None:
        """Forget everything."""
        self._opened = False
        self._records.clear()

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        """Keep one record, for as long as this instance is open."""
        if not self._opened:
            raise UnavailableError("the queue in memory is not open")
        if len(body) > _CAPABILITIES.max_record_bytes:
            raise PayloadTooLargeError(f"a record of {len(body)} bytes; at most {_CAPABILITIES.max_record_bytes}")
        position = Position(_PARTITION, self._end, self._end + _RECORD_BYTES + len(body))
        self._records.append(Record(position, headers, body))
        self._end = position.next_offset
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return position

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        """Return records from ``offset`` on."""
        if partition != _PARTITION:
            return []
        if offset >= self._end and wait_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._grown.wait(), wait_s)
        start = bisect_left(self._records, offset, key=_offset_of)
        return self._up_to(start, max_bytes)

    async def begin_offsets(self) -> Mapping[int, int]:
        """The trimmed beginning."""
        return {_PARTITION: self._begin}

    async def end_offsets(self) -> Mapping[int, int]:
        """The end."""
        return {_PARTITION: self._end}

    async def trim(self, partition: int, offset: int) -> None:
        """Forget what is below ``offset``."""
        if partition != _PARTITION:
            return
        kept = bisect_left(self._records, offset, key=_offset_of)
        del self._records[:kept]
        self._begin = self._records[0].position.offset if self._records else self._end

    def _up_to(self, start: int, max_bytes: int) -> list[Record]:
        stop, size = start, 0
        while stop < len(self._records):
            size += len(self._records[stop].body)
            if size > max_bytes and stop > start:
                break
            stop += 1
        return self._records[start:stop]
