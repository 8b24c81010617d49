"""What others do to a topic: operators with their tools, programs with a producer of their own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agenttrace_adapters.kafka import KafkaQueue
from tests.servers.kafka import KafkaPlace


def new_topic() -> str:
    """Return a name that no topic has."""
    return f"others-{uuid.uuid4().hex[:12]}"


def queue_on(kafka: KafkaPlace, topic: str, options: str = "") -> KafkaQueue:
    """Return a queue on a topic, which is patient: a busy machine's broker is slow, and that is not what is tried."""
    return KafkaQueue.from_url(kafka.url(topic, "&".join(filter(None, [options, "timeout_ms=10000"]))))


@asynccontextmanager
async def admin(address: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Kafka's administration."""
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def make_topic(address: str, topic: str, *, partitions: int = 1, **settings: str) -> None:
    """Make a topic with settings such as ``retention_ms``."""
    configs = {name.replace("_", "."): value for name, value in settings.items()}
    async with admin(address) as client:
        answer = await client.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
        assert answer.topic_errors[0][1] == 0, answer
    await anyio.sleep(0.2)


async def remake_topic(address: str, topic: str, *, partitions: int) -> None:
    """Delete a topic and make another of its name."""
    async with admin(address) as client:
        await client.delete_topics([topic])
        with anyio.fail_after(10):
            while True:
                answer = await client.create_topics([NewTopic(topic, partitions, 1)])
                if answer.topic_errors[0][1] == 0:
                    return
                await anyio.sleep(0.1)


async def settings_of(address: str, topic: str) -> dict[str, str]:
    """Return a topic's settings."""
    async with admin(address) as client:
        [answer] = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {name: value for name, value, *_ in answer.resources[0][4]}


async def produce(address: str, topic: str, bodies: Sequence[bytes], **options: Any) -> list[int]:
    """Append to partition 0 as a Collector does, with no headers of ours, and return the offsets."""
    producer = AIOKafkaProducer(bootstrap_servers=address, **options)
    await producer.start()
    try:
        sent = [await producer.send_and_wait(topic, body, partition=0) for body in bodies]
    finally:
        await producer.stop()
    return [s.offset for s in sent]


async def transact(address: str, topic: str, bodies: Sequence[bytes], *, commit: bool) -> None:
    """Append to partition 0 in one transaction, which is committed or not."""
    producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=uuid.uuid4().hex)
    await producer.start()
    try:
        await producer.begin_transaction()
        for body in bodies:
            await producer.send_and_wait(topic, body, partition=0)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()
