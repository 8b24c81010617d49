"""The span queue over a topic of Kafka."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Self
from uuid import UUID

from agenttrace_adapters.kafka.batches import HEAD_BYTES
from agenttrace_adapters.kafka.cluster import Cluster
from agenttrace_adapters.kafka.group import Group
from agenttrace_adapters.kafka.offsets import Offsets
from agenttrace_adapters.kafka.options import KafkaOptions
from agenttrace_adapters.kafka.producer import PartitionProducer
from agenttrace_adapters.kafka.reader import Reader
from agenttrace_adapters.kafka.records import OVERHEAD_BYTES, Outgoing
from agenttrace_adapters.kafka.topic import TopicFacts, ready_topic
from agenttrace_core.errors import InvalidInputError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, QueueCapabilities, Record, Retaining, Retention, SpanQueue

_log = logging.getLogger(__name__)

_MOST_UNDER_WAY = 128 << 20


class KafkaQueue(SpanQueue, Retaining):
    """``kafka://HOST:9092,HOST2:9092/TOPIC?option=value``. Offsets are Kafka's; the options are in ``KafkaOptions``.

    The topic is made at the first start. Any number of processes may append and read; nothing is asked of
    Kafka's consumer groups.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._capabilities = QueueCapabilities(
            durable=True,
            multi_process=True,
            multi_machine=True,
            addressable=True,
            byte_offsets=False,
            max_record_bytes=options.max_message_bytes - OVERHEAD_BYTES,
        )
        self._cluster = Cluster(options)
        self._offsets = Offsets(self._cluster, options)
        self._reader = Reader(self._cluster, options, self._offsets)
        self._group = Group(self._cluster, options)
        self._facts: TopicFacts | None = None
        self._floors: Mapping[int, int] = {}
        self._producers: dict[int, PartitionProducer] = {}
        self._turn = count()
        self._under_way = 0

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from its URL."""
        return cls(KafkaOptions.of(url))

    @property
    def capabilities(self) -> QueueCapabilities:
        """Shared by all who reach the brokers. The greatest record is the topic's, which is known once open."""
        return self._capabilities

    @property
    def queue_id(self) -> UUID:
        """The topic's id: another topic of the same name has another."""
        return self._topic().topic_id

    async def open(self) -> None:
        """Find the brokers, make the topic if it is not there, and see that its leaders can be reached."""
        await self._open(make=True)

    async def open_existing(self) -> None:
        """As ``open``, of a topic that is there."""
        await self._open(make=False)

    async def _open(self, *, make: bool) -> None:
        try:
            await self._cluster.open()
            facts = await ready_topic(self._cluster, self._options, make=make)
            self._cluster.hold_to(facts.topic_id)
            self._floors = await self._offsets.first_ends()
        except BaseException:
            await self.aclose()
            raise
        self._capabilities = replace(self._capabilities, max_record_bytes=facts.max_message_bytes - OVERHEAD_BYTES)
        self._facts = facts
        if facts.retention_ms is not None or facts.retention_bytes is not None:
            _log.warning(
                "the topic %s has a retention of its own (retention.ms=%s, retention.bytes=%s; None keeps everything): "
                "what no writer has written by then is lost", self._options.topic, facts.retention_ms,
                facts.retention_bytes,
            )  # fmt: skip

    async def aclose(self) -> None:
        """Wait for the appends that are under way, and let go of the brokers."""
        self._facts = None
        await asyncio.gather(*(p.aclose() for p in self._producers.values()))
        self._producers.clear()
        await self._reader.aclose()
        await self._offsets.aclose()
        await self._cluster.aclose()

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        """Store one record; appends under way at once share a batch."""
        chosen, limit = self._choose(partition), self._topic().max_message_bytes
        record = Outgoing(headers, body)
        if len(body) > self._capabilities.max_record_bytes or record.size + HEAD_BYTES > limit:
            raise PayloadTooLargeError(
                f"a record of {len(body)} bytes; the topic takes at most {self._capabilities.max_record_bytes}"
            )
        if self._under_way + record.size > max(_MOST_UNDER_WAY, record.size):
            raise UnavailableError(f"{self._under_way} bytes wait for Kafka already; at most {_MOST_UNDER_WAY} may")
        self._under_way += record.size
        try:
            offset = await self._producer(chosen).append(record)
        finally:
            self._under_way -= record.size
        return Position(chosen, offset, offset + 1)

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        """Return records from ``offset`` on; where others wrote transactions, only what was committed."""
        self._topic()
        return await self._reader.read(partition, offset, max_bytes=max_bytes, wait_s=wait_s)

    async def begin_offsets(self) -> Mapping[int, int]:
        """Kafka's log start offsets."""
        self._topic()
        return await self._offsets.begin()

    async def end_offsets(self) -> Mapping[int, int]:
        """Kafka's last stable offsets."""
        self._topic()
        ends = await self._offsets.end()
        return {p: self._reader.end(p, end) for p, end in ends.items()}

    async def trim(self, partition: int, offset: int) -> None:
        """Delete records, if the topic is ours or ``?trim=always``; otherwise it has a retention of its own.

        Kafka is told, too, how far the topic is written: see ``Group``.
        """
        is_ours = self._topic().is_ours
        await self._group.commit(partition, offset)
        if self._options.trim == "always" or (self._options.trim == "auto" and is_ours):
            self._reader.forget(partition)
            await self._offsets.trim(partition, offset)
            self._reader.forget(partition)

    async def retention(self, watermarks: Mapping[int, int] | None = None) -> Retention | None:
        """Tell it of a topic with a retention time of its own, by the times that Kafka has of the records."""
        total_ms = self._topic().retention_ms
        if total_ms is None:
            return None
        begins, ends = await self.begin_offsets(), await self.end_offsets()
        marks = {**begins, **(await self._group.committed() if watermarks is None else watermarks)}
        left_ms: list[float] = [total_ms]
        for partition, mark in marks.items():
            if mark < begins.get(partition, 0):
                left_ms.append(0)
            elif mark < ends.get(partition, 0):
                stored_ms = await self._reader.timestamp_ms(partition, mark)
                if stored_ms is not None:
                    left_ms.append(stored_ms + total_ms - time.time() * 1000)
        return Retention(total_ms / 1000, max(0.0, min(left_ms)) / 1000)

    def _topic(self) -> TopicFacts:
        if self._facts is None:
            raise UnavailableError(f"the queue on the topic {self._options.topic} is not open")
        return self._facts

    def _choose(self, partition: int | None) -> int:
        self._topic()
        partitions = self._cluster.layout.leaders
        if partition is None:
            return next(self._turn) % len(partitions)
        if partition not in partitions:
            raise InvalidInputError(f"no partition {partition}: {self._options.topic} has {sorted(partitions)}")
        return partition

    def _producer(self, partition: int) -> PartitionProducer:
        if partition not in self._producers:
            floor, limit = self._floors.get(partition, 0), self._topic().max_message_bytes
            self._producers[partition] = PartitionProducer(
                self._cluster, self._options, partition, floor=floor, limit=limit
            )
        return self._producers[partition]
