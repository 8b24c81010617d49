"""The span queue in memory: for tests, for embedding, and for those who keep nothing."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Self
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

from agenttrace_core.errors import ConfigurationError, InvalidInputError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, QueueCapabilities, Record, SpanQueue

_RECORD_BYTES = 64
_OPTIONS = {"partitions": 1, "max_record_bytes": 1 << 26}
_offset_of = attrgetter("position.offset")


@dataclass(slots=True)
class _Partition:
    records: list[Record] = field(default_factory=list)
    begin: int = 0
    end: int = 0

    def up_to(self, start: int, max_bytes: int) -> list[Record]:
        stop, size = start, 0
        while stop < len(self.records):
            size += len(self.records[stop].body)
            if size > max_bytes and stop > start:
                break
            stop += 1
        return self.records[start:stop]


class MemoryQueue(SpanQueue):
    """``memory:``. Every instance is a queue of its own, and gone when it is closed.

    ``?partitions=`` (default 1) and ``?max_record_bytes=`` (default 64 MiB) have it behave as larger queues do.
    """

    def __init__(self, *, partitions: int = 1, max_record_bytes: int = 1 << 26) -> None:
        self._capabilities = QueueCapabilities(
            durable=False,
            multi_process=False,
            multi_machine=False,
            addressable=True,
            byte_offsets=True,
            max_record_bytes=max_record_bytes,
        )
        self._queue_id = uuid4()
        self._partitions = {number: _Partition() for number in range(partitions)}
        self._next = count()
        self._opened = False
        self._grown = asyncio.Event()

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from ``memory:?option=value``."""
        scheme, _, query = url.partition("?")
        options = dict(_OPTIONS)
        try:
            for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
                options[name] = int(value)
        except ValueError:
            options = {}
        if scheme not in ("memory:", "memory://") or options.keys() != _OPTIONS.keys() or min(options.values()) < 1:
            raise ConfigurationError(
                f"queue = {url!r}: write memory:, or memory:?partitions=4&max_record_bytes=1048576"
            )
        return cls(**options)

    @property
    def capabilities(self) -> QueueCapabilities:
        """Neither durable nor shared."""
        return self._capabilities

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
        for partition in self._partitions.values():
            partition.records.clear()

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        """Keep one record, for as long as this instance is open; in turn where no partition is named."""
        if not self._opened:
            raise UnavailableError("the queue in memory is not open")
        if len(body) > self._capabilities.max_record_bytes:
            raise PayloadTooLargeError(f"a record of {len(body)} bytes; at most {self._capabilities.max_record_bytes}")
        number = next(self._next) % len(self._partitions) if partition is None else partition
        chosen = self._partitions.get(number)
        if chosen is None:
            raise InvalidInputError(f"the queue has no partition {number}, only 0 to {len(self._partitions) - 1}")
        position = Position(number, chosen.end, chosen.end + _RECORD_BYTES + len(body))
        chosen.records.append(Record(position, headers, body))
        chosen.end = position.next_offset
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return position

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        """Return records from ``offset`` on."""
        chosen = self._partitions.get(partition)
        if chosen is None:
            return []
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while offset >= chosen.end and wait_s > 0:
                    await self._grown.wait()
        return chosen.up_to(bisect_left(chosen.records, offset, key=_offset_of), max_bytes)

    async def begin_offsets(self) -> Mapping[int, int]:
        """The trimmed beginnings."""
        return {number: partition.begin for number, partition in self._partitions.items()}

    async def end_offsets(self) -> Mapping[int, int]:
        """The ends."""
        return {number: partition.end for number, partition in self._partitions.items()}

    async def trim(self, partition: int, offset: int) -> None:
        """Forget what is below ``offset``."""
        chosen = self._partitions.get(partition)
        if chosen is None:
            return
        del chosen.records[: bisect_left(chosen.records, offset, key=_offset_of)]
        chosen.begin = chosen.records[0].position.offset if chosen.records else chosen.end
