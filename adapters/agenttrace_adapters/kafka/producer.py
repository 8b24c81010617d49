"""Appends to one partition: collected into batches, idempotent, acknowledged by all replicas in sync.

One batch is under way at a time; what is appended meanwhile makes the next one, so that the busier it
is the larger are the batches. Kafka numbers a producer's records: a batch that is sent again, since its
answer was lost, is stored once. A batch whose fate stays unknown is given up, and with it the producer's
id, so that the gap in the numbers stops nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from agenttrace_adapters.kafka.batches import HEAD_BYTES, to_batch
from agenttrace_adapters.kafka.cluster import Cluster
from agenttrace_adapters.kafka.options import KafkaOptions
from agenttrace_adapters.kafka.protocol import Code, NoContactError, RefusedError
from agenttrace_adapters.kafka.records import Outgoing
from agenttrace_core.errors import AgentTraceError, UnavailableError

_LANES = 8
_ALL_IN_SYNC = -1
_BATCH_BYTES = 1 << 20
_OFF_LOOP_BYTES = 1 << 14
_LEAST_BYTES_A_SECOND = 16 << 20
_BACKOFF_S = 0.05
_FORGOTTEN = (Code.OUT_OF_ORDER_SEQUENCE, Code.INVALID_PRODUCER_EPOCH, Code.UNKNOWN_PRODUCER_ID)


@dataclass(frozen=True, slots=True)
class _Waiting:
    record: Outgoing
    offset: asyncio.Future[int]


class PartitionProducer:
    """Appends to ``partition``. ``floor`` is an offset below which nothing that is appended from now on can come to be.

    Args:
        cluster: of which the partition's leader is asked.
        options: how to compress, how long to wait.
        partition: the number.
        floor: the partition's end when the queue was opened.
        limit: the bytes that the topic allows a batch.
    """

    def __init__(self, cluster: Cluster, options: KafkaOptions, partition: int, *, floor: int, limit: int) -> None:
        self._cluster = cluster
        self._options = options
        self._partition = partition
        self._lane = f"produce-{partition % _LANES}"
        self._floor = floor
        self._batch_bytes = min(_BATCH_BYTES, limit - HEAD_BYTES)
        self._waiting: deque[_Waiting] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._producer: tuple[int, int] | None = None
        self._sequence = 0

    async def append(self, record: Outgoing) -> int:
        """Store a record, and return its offset.

        Raises:
            UnavailableError: it was not acknowledged in time.
        """
        waiting = _Waiting(record, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return await waiting.offset

    async def aclose(self) -> None:
        """Wait for what is under way; it is answered, or given up, within the time for an append."""
        if self._sender is not None:
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _send_all(self) -> None:
        if self._options.linger_ms:
            await asyncio.sleep(self._options.linger_ms / 1000)
        while batch := self._next_batch():
            try:
                first = await self._deliver([w.record for w in batch])
            except AgentTraceError as error:
                self._fail([*batch, *self._waiting], error)
                self._waiting.clear()
            except BaseException as error:
                self._fail([*batch, *self._waiting], UnavailableError(f"appending was broken off: {error!r}"))
                self._waiting.clear()
                raise
            else:
                for i, waiting in enumerate(batch):
                    if not waiting.offset.done():
                        waiting.offset.set_result(first + i)

    def _next_batch(self) -> list[_Waiting]:
        """Take what fits, leaving out those who no longer wait."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting:
            if self._waiting[0].offset.done():
                self._waiting.popleft()
                continue
            size += self._waiting[0].record.size
            if batch and size > self._batch_bytes:
                break
            batch.append(self._waiting.popleft())
        return batch

    @staticmethod
    def _fail(waiting: Sequence[_Waiting], error: AgentTraceError) -> None:
        for w in waiting:
            if not w.offset.done():
                w.offset.set_exception(UnavailableError(str(error)))

    async def _deliver(self, records: Sequence[Outgoing]) -> int:
        """Send a batch until it is acknowledged, or the time is up, and return the offset of its first record."""
        timeout_s = self._options.timeout_ms / 1000 + sum(r.size for r in records) / _LEAST_BYTES_A_SECOND
        delivery = _Delivery()
        try:
            async with asyncio.timeout(timeout_s):
                first = await self._insist(records, delivery)
        except TimeoutError as error:
            self._cluster.drop(self._partition, self._lane)
            self._cluster.stale()
            raise self._given_up(delivery, timeout_s) from error
        except UnavailableError:
            self._producer = None
            raise
        self._sequence = (self._sequence + len(records)) & 0x7FFFFFFF
        return first

    async def _insist(self, records: Sequence[Outgoing], delivery: _Delivery) -> int:
        while True:
            try:
                return await self._attempt(records, delivery)
            except (NoContactError, RefusedError) as error:
                delivery.error = error
                self._judge(error, delivery)
            await self._cluster.looked()
            await asyncio.sleep(_BACKOFF_S)

    def _given_up(self, delivery: _Delivery, timeout_s: float) -> UnavailableError:
        self._producer = None
        why = delivery.error or "no answer"
        return UnavailableError(f"partition {self._partition} acknowledged nothing within {timeout_s:.2g} s: {why}")

    def _judge(self, error: NoContactError | RefusedError, delivery: _Delivery) -> None:
        """Decide whether to go on after an error, or raise it."""
        if isinstance(error, NoContactError) or error.passes:
            return
        if error.code in _FORGOTTEN and not delivery.is_uncertain:
            self._producer = None  # the broker has forgotten us, or we it: begin to count anew
            return
        raise error

    async def _attempt(self, records: Sequence[Outgoing], delivery: _Delivery) -> int:
        if self._producer is None:
            self._producer, self._sequence, delivery.batch = await self._new_id(), 0, None
        if delivery.batch is None:
            delivery.batch = await self._encode(records, self._producer)
        topic = self._options.topic
        request = ProduceRequest(
            None, _ALL_IN_SYNC, self._options.timeout_ms, [(topic, [(self._partition, delivery.batch)])]
        )
        leader = self._cluster.leader(self._partition)
        delivery.sent += 1
        answer = await self._cluster.ask(leader, self._lane, request)
        _, code, offset, *_ = answer.topics[0][1][0]
        if code != Code.NONE:
            delivery.refused += code == Code.NOT_LEADER
            raise RefusedError(f"appending to partition {self._partition} of {topic}", code, _hint(code))
        return self._above_floor(offset, len(records))

    def _above_floor(self, offset: int, count: int) -> int:
        """Check that the partition is still the one that it was: nothing is acknowledged out of another."""
        if offset < self._floor:
            why = f"partition {self._partition} of {self._options.topic} went back from {self._floor} to {offset}"
            self._cluster.condemn(f"{why}: its records were lost, or the topic was made anew")
            raise UnavailableError(why)
        self._floor = offset + count
        return offset

    async def _new_id(self) -> tuple[int, int]:
        answer = await self._cluster.ask(
            self._cluster.leader(self._partition), self._lane, InitProducerIdRequest(None, 0x7FFFFFFF)
        )
        if answer.error_code != Code.NONE:
            raise RefusedError("asking for a producer's id", answer.error_code)
        return answer.producer_id, answer.producer_epoch

    async def _encode(self, records: Sequence[Outgoing], producer: tuple[int, int]) -> bytes:
        codec, sequence = self._options.compression, self._sequence
        if sum(r.size for r in records) < _OFF_LOOP_BYTES:
            return to_batch(records, codec=codec, producer=producer, sequence=sequence)
        return await asyncio.to_thread(to_batch, records, codec=codec, producer=producer, sequence=sequence)


@dataclass(slots=True)
class _Delivery:
    """What became of a batch so far."""

    batch: bytes | None = None
    sent: int = 0
    refused: int = 0
    error: UnavailableError | None = None

    @property
    def is_uncertain(self) -> bool:
        """Whether a broker may have stored it without our knowing."""
        return self.sent > self.refused + 1


def _hint(code: int) -> str | None:
    return {
        Code.MESSAGE_TOO_LARGE: "its max.message.bytes is lower than when this process started; start it again",
        Code.INVALID_TIMESTAMP: "the clock of this machine is ahead of the broker's by more than it allows",
    }.get(Code(code) if code in set(Code) else Code.NONE)
