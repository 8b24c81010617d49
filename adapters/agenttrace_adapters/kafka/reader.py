"""Reads from any offset of a partition. What was fetched beyond what was asked for is kept for the next read."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import cramjam
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord, TopicPartition

from agenttrace_adapters.kafka.cluster import Cluster
from agenttrace_adapters.kafka.offsets import READ_COMMITTED, Offsets
from agenttrace_adapters.kafka.options import KafkaOptions
from agenttrace_adapters.kafka.protocol import Code, RefusedError
from agenttrace_adapters.kafka.records import to_record
from agenttrace_core.errors import CorruptionError
from agenttrace_core.ports.queue import Record

_LEAST_FETCH = 1 << 16
_MOST_FETCH = 4 << 20
_MOST_KEPT = 32 << 20
_OFF_LOOP_BYTES = 1 << 14
_WAIT_S = 0.5
_DAMAGE = (CorruptRecordException, cramjam.DecompressionError, zlib.error, OSError, EOFError, ValueError, IndexError)


class Reader:
    """Fetches from the leaders. Each fetch has a connection to itself, so that one that waits holds up no other."""

    def __init__(self, cluster: Cluster, options: KafkaOptions, offsets: Offsets) -> None:
        self._cluster = cluster
        self._options = options
        self._offsets = offsets
        self._kept: OrderedDict[tuple[int, int], Fetched] = OrderedDict()
        self._free: list[str] = []
        self._lanes = 0
        self._fetches: set[asyncio.Task[Any]] = set()
        self._gaps: dict[int, tuple[int, int]] = {}

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float) -> Sequence[Record]:
        """As of ``SpanQueue``."""
        deadline = time.monotonic() + wait_s
        at = offset
        while True:
            fetched = self._kept.pop((partition, at), None)
            if fetched is None:
                left_s = max(0.0, deadline - time.monotonic())
                fetched = await self._fetch(partition, at, max_bytes, min(left_s, _WAIT_S))
            if fetched is not None:
                records = await fetched.take(max_bytes)
                if records:
                    self._keep(partition, records[-1].position.next_offset, fetched)
                    return records
                if fetched.next_offset > at:
                    self._note_gap(partition, at, fetched.next_offset)
                    at = fetched.next_offset
                    continue
            if time.monotonic() >= deadline:
                return []

    async def timestamp_ms(self, partition: int, offset: int) -> int | None:
        """Return the time of the first record at or above ``offset``, as Kafka has it; None if there is none."""
        fetched = await self._fetch(partition, offset, _LEAST_FETCH, 0.0)
        return await asyncio.to_thread(fetched.first_timestamp_ms) if fetched is not None else None

    def end(self, partition: int, end: int) -> int:
        """Return where a reader comes to an end: at ``end``, or before markers that end a partition."""
        begin, until = self._gaps.get(partition, (end, end))
        return begin if until == end else end

    def forget(self, partition: int) -> None:
        """Keep nothing of a partition: something of it was deleted."""
        for key in [k for k in self._kept if k[0] == partition]:
            del self._kept[key]

    async def aclose(self) -> None:
        """Stop waiting for brokers."""
        self._kept.clear()
        for fetch in self._fetches:
            fetch.cancel()
        await asyncio.gather(*self._fetches, return_exceptions=True)

    async def _fetch(self, partition: int, offset: int, max_bytes: int, wait_s: float) -> Fetched | None:
        """Return what is at ``offset``, or at the beginning if that is above it; None if nothing came."""
        size = max(_LEAST_FETCH, min(max_bytes, _MOST_FETCH))
        found = await self._cluster.persist(
            lambda: self._ask(partition, offset, size, wait_s), timeout_s=self._options.timeout_ms / 1000 + wait_s
        )
        _, code, _, _, _, aborted, *_, data = found
        if code == Code.OFFSET_OUT_OF_RANGE:
            begin = (await self._offsets.begin())[partition]
            if offset < begin:
                return await self._fetch(partition, begin, max_bytes, wait_s)
            await asyncio.sleep(wait_s)
            return None
        return Fetched(partition, offset, data, aborted, self._options) if data else None

    async def _ask(self, partition: int, offset: int, size: int, wait_s: float) -> Any:
        topic = self._options.topic
        request = FetchRequest(int(wait_s * 1000), 1, size, READ_COMMITTED, [(topic, [(partition, offset, size)])])
        answer = await self._on_own_lane(self._cluster.leader(partition), request)
        found = answer.topics[0][1][0]
        if found[1] == Code.CORRUPT:
            raise CorruptionError(f"a broker cannot read offset {offset} of partition {partition}", skip_to=offset + 1)
        if found[1] not in (Code.NONE, Code.OFFSET_OUT_OF_RANGE):
            raise RefusedError(f"reading partition {partition} of {topic}", found[1])
        return found

    async def _on_own_lane(self, node: int, request: FetchRequest) -> Any:
        """Ask on a connection that nobody waits on; who gives up leaves it to the answer that is still to come."""
        if not self._free:
            self._free.append(f"fetch-{self._lanes}")
            self._lanes += 1
        lane = self._free.pop()
        fetch = asyncio.create_task(self._cluster.ask(node, lane, request))
        self._fetches.add(fetch)

        def done(fetch: asyncio.Task[Any]) -> None:
            self._fetches.discard(fetch)
            self._free.append(lane)
            if not fetch.cancelled():
                fetch.exception()

        fetch.add_done_callback(done)
        return await asyncio.shield(fetch)

    def _keep(self, partition: int, offset: int, fetched: Fetched) -> None:
        if fetched.has_more:
            self._kept[partition, offset] = fetched
        while sum(f.size for f in self._kept.values()) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def _note_gap(self, partition: int, begin: int, until: int) -> None:
        known_begin, known_until = self._gaps.get(partition, (begin, until))
        self._gaps[partition] = (min(begin, known_begin) if known_until >= begin else begin, until)


class Fetched:
    """What came in one answer, decoded as far as it is asked for. ``size`` is in bytes, as it came."""

    def __init__(
        self, partition: int, offset: int, data: bytes, aborted: Sequence[tuple[int, int]] | None, options: KafkaOptions
    ) -> None:
        self.size = len(data)
        self._partition = partition
        self._data = data
        self._project = options.default_project
        self._found = PartitionRecords(
            TopicPartition(options.topic, partition), MemoryRecords(data), aborted, offset,
            None, None, check_crcs=True, isolation_level=READ_COMMITTED,
        )  # fmt: skip
        self._held: ConsumerRecord | None = None
        self.has_more = True

    @property
    def next_offset(self) -> int:
        """Where the next fetch should begin, once there is no more."""
        return self._found.next_fetch_offset

    async def take(self, max_bytes: int) -> list[Record]:
        """Return records of ``max_bytes`` of bodies, or at least one.

        Raises:
            CorruptionError: the first is damaged.
        """
        if self.size < _OFF_LOOP_BYTES:
            return self._take(max_bytes)
        return await asyncio.to_thread(self._take, max_bytes)

    def first_timestamp_ms(self) -> int | None:
        """Return the time of the first record, which is used up by that."""
        try:
            first = next(self._found, None)
        except _DAMAGE:
            return None
        return None if first is None else first.timestamp

    def _take(self, max_bytes: int) -> list[Record]:
        records: list[Record] = []
        size = 0
        while True:
            try:
                found = self._held or next(self._found, None)
                self._held = None
                if found is None:
                    self.has_more = False
                    return records
                record = to_record(found, self._partition, self._project)
            except (CorruptionError, *_DAMAGE) as error:
                self.has_more = False
                if records:
                    return records
                raise self._damaged(error) from error
            size += len(record.body)
            if records and size > max_bytes:
                self._held = found
                return records
            records.append(record)

    def _damaged(self, error: Exception) -> CorruptionError:
        if isinstance(error, CorruptionError):
            return error
        at = self._found.next_fetch_offset
        return CorruptionError(
            f"the records from offset {at} of partition {self._partition} on are damaged: {error}",
            skip_to=_end_of_batch(self._data, at),
        )


def _end_of_batch(data: bytes, offset: int) -> int:
    """Return the offset after the batch that holds ``offset``, as far as its head can be believed."""
    at = 0
    while at + 27 <= len(data):
        base = int.from_bytes(data[at : at + 8], "big", signed=True)
        last = base + int.from_bytes(data[at + 23 : at + 27], "big", signed=True)
        if base <= offset <= last:
            return last + 1
        at += 12 + max(0, int.from_bytes(data[at + 8 : at + 12], "big", signed=True))
    return offset + 1
