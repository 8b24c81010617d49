"""The Kafka queue while its broker is killed, hangs, stops, and comes back."""

from __future__ import annotations

import resource
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from anyio import to_thread

from agenttrace_adapters.kafka import KafkaQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, append_many, stored
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.queue import Position
from tests.integration.kafka_others import settings_of
from tests.servers.kafka import KafkaServer

pytestmark = pytest.mark.anyio

T = TypeVar("T")

_BACK_S = 20.0


@pytest.fixture
async def queue(own_kafka: KafkaServer) -> AsyncIterator[KafkaQueue]:
    """A queue on a broker that the test may do to as it likes."""
    async with opened(KafkaQueue.from_url(_url(own_kafka))) as queue:
        yield queue


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_an_append_fails_within_a_second_and_succeeds_again_after(
    own_kafka: KafkaServer, queue: KafkaQueue, fault: str
) -> None:
    """A sender waits ten seconds at most, and whoever runs the server does not start it again at each hiccup."""
    await queue.append(HEADERS, b"before")
    await to_thread.run_sync(getattr(own_kafka, fault))
    for _ in range(5):
        with _Within(1.0), pytest.raises(UnavailableError):
            await queue.append(HEADERS, b"meanwhile")
        with _Within(1.0), pytest.raises(UnavailableError):
            await queue.end_offsets()
        with _Within(1.0), pytest.raises(UnavailableError):
            await queue.read(0, 0, max_bytes=1)
    await to_thread.run_sync(own_kafka.restore)
    position = await _soon(partial(queue.append, HEADERS, b"after"))
    found = await _soon(partial(stored, queue))
    assert found[position] == b"after"
    assert b"before" in found.values()


@pytest.mark.parametrize("fault", ["kill", "pause", "stop"])
async def test_what_was_acknowledged_is_there_once_whatever_became_of_the_broker(
    own_kafka: KafkaServer, queue: KafkaQueue, fault: str
) -> None:
    """An acknowledged record that is lost or doubled is the one thing that this queue promises not to do."""
    acknowledged: dict[Position, bytes] = {}
    refused: list[bytes] = []

    async def append(worker: int) -> None:
        for i in range(10**6):
            body = f"{worker} {i} ".encode() * (1 + worker * i % 500)
            try:
                acknowledged[await queue.append(HEADERS, body, partition=worker % 4)] = body
            except UnavailableError:
                refused.append(body)
                await anyio.sleep(0.05)

    async with anyio.create_task_group() as group:
        for worker in range(32):
            group.start_soon(append, worker)
        await anyio.sleep(1.0)
        await to_thread.run_sync(getattr(own_kafka, fault))
        await anyio.sleep(2.0)
        await to_thread.run_sync(own_kafka.restore)
        count = len(acknowledged)
        with anyio.fail_after(_BACK_S):
            while len(acknowledged) < count + 100:
                await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    assert refused, "the fault was not felt"
    found = await _soon(partial(stored, queue, expected=len(acknowledged)))
    assert acknowledged.items() <= found.items()
    twice = {body for body, count in Counter(found.values()).items() if count > 1}
    assert not twice & set(acknowledged.values()), "an acknowledged record is there twice"


@pytest.mark.timeout(300)
async def test_of_three_brokers_one_may_die_and_two_may_not(three: list[KafkaServer]) -> None:
    """An acknowledgement is a promise over the loss of a machine; with two lost, nothing is promised."""
    url = three[0].place.url(f"faults-{uuid.uuid4().hex[:12]}", "partitions=3")
    async with opened(KafkaQueue.from_url(url)) as queue:
        settings = await settings_of(three[0].address, url.partition("?")[0].rpartition("/")[2])
        assert settings["min.insync.replicas"] == "2"
        for partition in range(3):
            await _soon(partial(queue.append, HEADERS, b"first", partition=partition))
        acknowledged = await append_many(queue, [b"before %d" % i for i in range(30)])
        await to_thread.run_sync(three[1].kill)
        for i in range(30):
            acknowledged[await _soon(partial(queue.append, HEADERS, b"%d" % i, partition=i % 3))] = b"%d" % i
        await to_thread.run_sync(three[2].kill)
        for partition in range(3):
            with _Within(1.0), pytest.raises(UnavailableError):
                await queue.append(HEADERS, b"refused", partition=partition)
        for broker in three[1:]:
            await to_thread.run_sync(broker.start)
        for i in range(30):
            body = b"after %d" % i
            acknowledged[await _soon(partial(queue.append, HEADERS, body, partition=i % 3))] = body
        found = await _soon(partial(stored, queue))
        assert acknowledged.items() <= found.items()


@pytest.fixture
def three(own_kafka: KafkaServer) -> Iterator[list[KafkaServer]]:
    """A cluster of three brokers."""
    first = KafkaServer()
    brokers = [first, KafkaServer(joins=first), KafkaServer(joins=first)]
    try:
        for broker in brokers:
            broker.start()
        yield brokers
    finally:
        for broker in reversed(brokers):
            broker.destroy()


async def test_memory_is_bounded_while_the_broker_hangs(own_kafka: KafkaServer, queue: KafkaQueue) -> None:
    """Senders go on for minutes; what is kept of each refused request would end the process."""
    await append_many(queue, [b"warm" * 1000] * 50)
    await to_thread.run_sync(own_kafka.pause)
    before_mib = _resident_mib()
    for i in range(20):
        async with anyio.create_task_group() as group:
            for _ in range(25):
                group.start_soon(_refused, queue, b"%d" % i * (1 << 20))
    assert _resident_mib() - before_mib < 300, "more than 500 MiB were offered"


async def test_closing_waits_for_no_broker(own_kafka: KafkaServer) -> None:
    """A process that cannot be stopped while its broker is away is killed, and then has not closed the rest."""
    queue = KafkaQueue.from_url(_url(own_kafka))
    await queue.open()
    await to_thread.run_sync(own_kafka.pause)
    with _Within(2.0):
        async with anyio.create_task_group() as group:
            group.start_soon(_refused, queue, b"body")
            group.start_soon(partial(queue.read, 0, 0, max_bytes=1, wait_s=30.0))
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()
        await queue.aclose()


async def test_a_reader_that_waits_goes_on_when_the_broker_is_back(own_kafka: KafkaServer, queue: KafkaQueue) -> None:
    """A writer must find its way without being started again, and miss nothing on the way."""
    first = await queue.append(HEADERS, b"first", partition=0)
    await to_thread.run_sync(own_kafka.kill)
    await to_thread.run_sync(own_kafka.start)
    second = await _soon(partial(queue.append, HEADERS, b"second", partition=0))
    found = await _soon(partial(queue.read, 0, first.next_offset, max_bytes=1 << 20, wait_s=1.0))
    assert {r.body for r in found} == {b"second"}, "one that was given up while the broker started may be there too"
    assert second in await _soon(partial(stored, queue))


async def _refused(queue: KafkaQueue, body: bytes) -> None:
    with pytest.raises(UnavailableError):
        await queue.append(HEADERS, body)


async def _soon(call: Callable[[], Awaitable[T]]) -> T:
    """Call until it succeeds, as a service does."""
    with anyio.fail_after(_BACK_S):
        while True:
            try:
                return await call()
            except UnavailableError:
                await anyio.sleep(0.1)


class _Within:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        took = time.monotonic() - self._began
        assert took < self._seconds, f"took {took:.2f} s"


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _url(kafka: KafkaServer) -> str:
    return kafka.place.url(f"faults-{uuid.uuid4().hex[:12]}", "partitions=4")
