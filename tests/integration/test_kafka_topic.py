"""The topic of a Kafka queue: as it is made by us, and as others have made it."""

from __future__ import annotations

import os
import time

import anyio
import pytest

from agenttrace_adapters.kafka import KafkaQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, append_many, stored
from agenttrace_core.errors import ConfigurationError, NotFoundError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Signal
from tests.integration.kafka_others import make_topic, new_topic, queue_on, remake_topic, settings_of
from tests.servers.kafka import KafkaPlace
from tests.servers.process import free_port

pytestmark = pytest.mark.anyio


async def test_the_topic_is_made_at_the_first_start_and_told(
    kafka: KafkaPlace, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody should have to make it; and it must keep what is not written yet, however long that takes."""
    caplog.set_level("INFO")
    topic = new_topic()
    async with opened(queue_on(kafka, topic, "partitions=3")) as queue:
        assert set(await queue.end_offsets()) == {0, 1, 2}
        assert queue.capabilities.max_record_bytes > 20 << 20
    assert f"made the topic {topic} with 3 partitions" in caplog.text
    settings = await settings_of(kafka.address, topic)
    assert settings["cleanup.policy"] == "delete"
    assert settings["retention.ms"] == settings["retention.bytes"] == "-1"
    assert settings["unclean.leader.election.enable"] == "false"
    assert settings["message.timestamp.type"] == "LogAppendTime"


async def test_a_topic_with_other_partitions_is_used_and_told(
    kafka: KafkaPlace, caplog: pytest.LogCaptureFixture
) -> None:
    """Lost otherwise: why more writers than that wait, although the URL says that there are partitions for them."""
    topic = new_topic()
    async with opened(queue_on(kafka, topic, "partitions=2")):
        pass
    async with opened(queue_on(kafka, topic)):
        assert not caplog.text
    async with opened(queue_on(kafka, topic, "partitions=7")) as queue:
        assert set(await queue.end_offsets()) == {0, 1}
    assert f"the topic {topic} has 2 partitions" in caplog.text


async def test_many_may_start_at_once(kafka: KafkaPlace) -> None:
    """All services of a deployment start together; only one can make the topic."""
    queues = [queue_on(kafka, topic) for topic in [new_topic()] * 5]
    async with anyio.create_task_group() as group:
        for queue in queues:
            group.start_soon(queue.open)
    assert len({queue.queue_id for queue in queues}) == 1
    for queue in queues:
        await queue.aclose()


async def test_a_look_makes_nothing(kafka: KafkaPlace) -> None:
    """Who examines a deployment must not change it."""
    queue = queue_on(kafka, new_topic())
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await queue.open_existing()


async def test_a_topic_of_others_has_its_own_limit(kafka: KafkaPlace) -> None:
    """A broker refuses a longer record; the door divides a request by what it is told here."""
    topic = new_topic()
    await make_topic(kafka.address, topic, partitions=2)
    async with opened(queue_on(kafka, topic)) as queue:
        limit = queue.capabilities.max_record_bytes
        assert 900_000 < limit < 1 << 20
        bodies = [os.urandom(limit), *(os.urandom(limit // 3) for _ in range(20))]
        assert await append_many(queue, bodies) == await stored(queue)
        with pytest.raises(PayloadTooLargeError):
            await queue.append(HEADERS, bytes(limit + 1))
        with pytest.raises(PayloadTooLargeError):
            await queue.append(Headers("p" * 5000, Signal.LOGS, 1), bytes(limit))


async def test_the_longest_record_goes_through_even_if_it_cannot_be_compressed(kafka: KafkaPlace) -> None:
    """The limit that is declared is the limit that holds, also for what is random."""
    async with opened(queue_on(kafka, new_topic(), "partitions=1")) as queue:
        body = os.urandom(queue.capabilities.max_record_bytes)
        position = await queue.append(Headers("p", Signal.LOGS, 1), body)
        [found] = await queue.read(0, position.offset, max_bytes=1)
        assert found.body == body


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_the_broker_takes_every_compression(kafka: KafkaPlace, compression: str) -> None:
    """Batches are put together here; the broker looks into each, and refuses one of which it makes no sense."""
    async with opened(queue_on(kafka, new_topic(), f"compression={compression}")) as queue:
        bodies = [b"%d " % i * i for i in range(300)] + [os.urandom(100_000)]
        assert await append_many(queue, bodies) == await stored(queue)


@pytest.mark.parametrize(
    ("settings", "trim", "kept"),
    [({}, "auto", 10), ({}, "always", 0), ({"retention_ms": "-1"}, "auto", 0), ({"retention_ms": "-1"}, "never", 10)],
)
async def test_only_what_nobody_else_deletes_is_deleted(
    kafka: KafkaPlace, settings: dict[str, str], trim: str, kept: int
) -> None:
    """Others may read a topic that they made; one that keeps everything fills the disks unless somebody trims it."""
    topic = new_topic()
    await make_topic(kafka.address, topic, **settings)
    async with opened(queue_on(kafka, topic, f"trim={trim}")) as queue:
        await append_many(queue, [b"%d" % i for i in range(10)])
        for _ in range(2):
            await queue.trim(0, 10)
        assert len(await stored(queue)) == kept


async def test_a_compacted_topic_is_refused(kafka: KafkaPlace) -> None:
    """It forgets records by their keys; what was acknowledged would be gone without a trace."""
    topic = new_topic()
    await make_topic(kafka.address, topic, cleanup_policy="compact,delete")
    with pytest.raises(ConfigurationError, match=r"cleanup\.policy"):
        await queue_on(kafka, topic).open()


async def test_a_topic_that_cannot_be_made_says_how_it_could(kafka: KafkaPlace) -> None:
    """More replicas than brokers is the first mistake of everybody; the answer is a command."""
    with pytest.raises(ConfigurationError, match=r"kafka-topics\.sh .*--replication-factor 3"):
        await queue_on(kafka, new_topic(), "replication=3").open()


async def test_nothing_is_acknowledged_out_of_a_topic_that_was_made_anew(kafka: KafkaPlace) -> None:
    """Offsets begin at 0 again, below what is written already: what is put there would never be read."""
    topic = new_topic()
    async with opened(queue_on(kafka, topic, "partitions=1")) as queue:
        before = queue.queue_id
        await append_many(queue, [b"%d" % i for i in range(20)])
        await remake_topic(kafka.address, topic, partitions=1)
        with anyio.fail_after(10):
            while True:
                try:
                    position = await queue.append(HEADERS, b"lost")
                except UnavailableError as error:
                    if "made anew" in str(error):
                        break
                else:
                    raise AssertionError(f"acknowledged at {position}")
                await anyio.sleep(0.1)
    async with opened(queue_on(kafka, topic)) as queue:
        assert queue.queue_id != before


@pytest.mark.parametrize("what", ["closed port", "no such host", "mute"])
async def test_brokers_that_are_not_there_are_told_within_seconds(what: str) -> None:
    """Who starts a service with a wrong address should read so, and not wait."""
    port = free_port()
    silent = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    address = {
        "closed port": f"127.0.0.1:{free_port()}",
        "no such host": "nowhere.invalid:9092",
        "mute": f"127.0.0.1:{port}",
    }[what]
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=address):
        await KafkaQueue.from_url(f"kafka://{address}/topic").open()
    assert time.monotonic() - began < 5.0
    await silent.aclose()


async def test_one_broker_that_answers_is_enough(kafka: KafkaPlace) -> None:
    """Several are named so that one of them may be away at the start."""
    url = f"kafka://127.0.0.1:{free_port()},nowhere.invalid:9092,{kafka.address}/{new_topic()}"
    async with opened(KafkaQueue.from_url(url)) as queue:
        await queue.append(HEADERS, b"body")
