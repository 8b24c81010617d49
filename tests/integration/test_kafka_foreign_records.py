"""Records that others wrote into the topic of a Kafka queue, and records that were damaged there."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, read_all, stored
from agenttrace_core.errors import CorruptionError
from agenttrace_core.ports.queue import Headers, Signal
from tests.integration.kafka_others import make_topic, new_topic, produce, queue_on, transact
from tests.servers.kafka import KafkaPlace, KafkaServer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_what_a_collector_exports_is_read(kafka: KafkaPlace, compression: str | None) -> None:
    """A Collector feeds us through Kafka, with none of our headers, compressed as its operator likes."""
    topic = new_topic()
    await make_topic(kafka.address, topic)
    bodies = [b"\x0a\x00" * i for i in range(1, 100)]
    offsets = await produce(kafka.address, topic, bodies, compression_type=compression)
    async with opened(queue_on(kafka, topic, "default_project=shop")) as queue:
        found = await read_all(queue, 0, 0)
    assert [r.position.offset for r in found] == offsets
    assert [r.body for r in found] == bodies
    assert {(r.headers.project, r.headers.signal) for r in found} == {("shop", Signal.TRACES)}
    assert all(r.headers.received_ns > 1_700_000_000_000_000_000 for r in found)


async def test_only_what_was_committed_is_read(kafka: KafkaPlace) -> None:
    """A transaction that was given up never happened; its markers are no records, and no reader waits at them."""
    topic = new_topic()
    await make_topic(kafka.address, topic)
    await transact(kafka.address, topic, [b"kept 1", b"kept 2"], commit=True)
    await transact(kafka.address, topic, [b"given up"] * 5, commit=False)
    await produce(kafka.address, topic, [b"kept 3"])
    await transact(kafka.address, topic, [b"given up"] * 5, commit=False)
    async with opened(queue_on(kafka, topic)) as queue:
        found = await read_all(queue, 0, 0)
        assert [r.body for r in found] == [b"kept 1", b"kept 2", b"kept 3"]
        with anyio.fail_after(5):
            end = (await queue.end_offsets())[0]
            assert end == found[-1].position.next_offset, "a reader would think that there is more to come"
        more = await queue.append(HEADERS, b"more")
        assert (await queue.end_offsets())[0] == more.next_offset
        assert [r.body for r in await read_all(queue, 0, end)] == [b"more"]


async def test_a_record_with_headers_of_no_known_form_costs_itself_alone(kafka: KafkaPlace) -> None:
    """One record of a broken program must not stop all that come after it."""
    topic = new_topic()
    await make_topic(kafka.address, topic)
    async with opened(queue_on(kafka, topic)) as queue:
        first = await queue.append(HEADERS, b"first")
        bad = await queue.append(Headers("p", "dreams", 1), b"bad")  # type: ignore[arg-type]
        last = await queue.append(HEADERS, b"last")
        assert [r.position for r in await queue.read(0, 0, max_bytes=1 << 20)] == [first]
        with pytest.raises(CorruptionError) as caught:
            await queue.read(0, bad.offset, max_bytes=1 << 20)
        assert caught.value.skip_to == last.offset
        assert [r.position for r in await queue.read(0, last.offset, max_bytes=1 << 20)] == [last]


async def test_a_damaged_batch_is_told_and_passed(own_kafka: KafkaServer) -> None:
    """A disk that rots must cost the records that rotted, not those after them, and never be read as if whole."""
    topic = new_topic()
    async with opened(queue_on(own_kafka.place, topic, "partitions=1&compression=none")) as queue:
        first = await queue.append(HEADERS, b"first")
        damaged = await queue.append(HEADERS, b"to be damaged")
        last = await queue.append(HEADERS, b"last")
    await to_thread.run_sync(own_kafka.stop)
    await to_thread.run_sync(_damage, own_kafka.folder / "data" / f"{topic}-0", b"to be damaged")
    await to_thread.run_sync(own_kafka.start)
    async with opened(queue_on(own_kafka.place, topic)) as queue:
        assert [r.position for r in await queue.read(0, 0, max_bytes=1 << 20)] == [first]
        with pytest.raises(CorruptionError) as caught:
            await queue.read(0, damaged.offset, max_bytes=1 << 20)
        assert caught.value.skip_to == last.offset
        assert [r.position for r in await queue.read(0, last.offset, max_bytes=1 << 20)] == [last]


async def test_two_readers_of_a_partition_do_not_disturb_each_other(kafka: KafkaPlace) -> None:
    """A writer and a query process of one machine read the same partition, each from where it is."""
    async with opened(queue_on(kafka, new_topic(), "partitions=1")) as queue:
        bodies = [b"%d" % i * 500 for i in range(200)]
        for body in bodies:
            await queue.append(HEADERS, body)
        read: list[list[bytes]] = [[], [], []]

        async def follow(which: int, max_bytes: int) -> None:
            offset = 0
            while len(read[which]) < len(bodies):
                found = await queue.read(0, offset, max_bytes=max_bytes, wait_s=1.0)
                read[which] += [r.body for r in found]
                offset = found[-1].position.next_offset

        async with anyio.create_task_group() as group:
            for which, max_bytes in enumerate([1, 3000, 50_000]):
                group.start_soon(follow, which, max_bytes)
        assert read == [bodies] * 3


async def test_a_reader_that_waits_holds_up_nobody(kafka: KafkaPlace) -> None:
    """A broker answers one connection in turn: who waits there must be there alone."""
    async with opened(queue_on(kafka, new_topic(), "partitions=4")) as queue:
        async with anyio.create_task_group() as group:
            for partition in (0, 1, 2):
                group.start_soon(lambda p=partition: queue.read(p, 0, max_bytes=1, wait_s=30.0))
            await anyio.sleep(0.2)
            with anyio.fail_after(2.0):
                for _ in range(10):
                    position = await queue.append(HEADERS, b"body", partition=3)
                    [found] = await queue.read(3, position.offset, max_bytes=1)
                    assert found.position == position
                    assert (await queue.end_offsets())[3] == position.next_offset
            group.cancel_scope.cancel()
        assert len(await stored(queue)) == 10


def _damage(folder: Path, what: bytes) -> None:
    [log] = folder.glob("*.log")
    content = log.read_bytes()
    assert content.count(what) == 1
    log.write_bytes(content.replace(what, what.upper()))
