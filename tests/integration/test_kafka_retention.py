"""A topic that forgets by itself: how much time is left of what no writer has written, and who says so."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import anyio
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from anyio import to_thread

from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS
from agenttrace_core.ports.metrics import NoMeter
from agenttrace_core.ports.queue import Retention
from agenttrace_core.services.queue_retention import watch_retention
from agenttrace_server.doctor_queue import queue_finding
from agenttrace_server.findings import Finding, Verdict
from agenttrace_server.settings import Settings
from tests.integration.kafka_others import admin, make_topic, new_topic, queue_on
from tests.servers.kafka import KafkaPlace
from tests.servers.process import free_port

pytestmark = pytest.mark.anyio

_DAY_S = 86400


async def test_a_topic_of_ours_forgets_nothing(kafka: KafkaPlace) -> None:
    """Nobody should be warned of a loss that cannot come."""
    topic = new_topic()
    async with opened(queue_on(kafka, topic)) as queue:
        await queue.append(HEADERS, b"body")
        assert await queue.retention({}) is None
    finding = await _examined(kafka, topic)
    assert finding.verdict is Verdict.GOOD
    assert "until they are written" in finding.found


async def test_the_time_left_is_that_of_the_oldest_record_not_written(kafka: KafkaPlace) -> None:
    """A writer that is away for a week-end must be missed before the records are."""
    topic = new_topic()
    await make_topic(kafka.address, topic, partitions=2, retention_ms=str(_DAY_S * 1000))
    async with opened(queue_on(kafka, topic)) as queue:
        assert await queue.retention({}) == Retention(_DAY_S, _DAY_S)
        await queue.append(HEADERS, b"written", partition=0)
        await anyio.sleep(1.5)
        last = await queue.append(HEADERS, b"not written", partition=0)
        of_both = cast("Retention", await queue.retention({}))
        of_last = cast("Retention", await queue.retention({0: last.offset}))
        assert _DAY_S - 60 < of_both.left_s < of_last.left_s - 1.0 < _DAY_S
        assert await queue.retention({0: last.next_offset}) == Retention(_DAY_S, _DAY_S)


async def test_what_is_lost_is_said(kafka: KafkaPlace) -> None:
    """A topic that has forgotten what nobody had written looks just like one that is idle."""
    topic = new_topic()
    await make_topic(kafka.address, topic, retention_ms=str(_DAY_S * 1000))
    # The first group of a broker takes it some seconds, in which commits, being advice, are left at that.
    assert await _committed(kafka, f"group-{topic}", TopicPartition(topic, 0)) is None
    async with opened(queue_on(kafka, topic, f"group=group-{topic}")) as queue:
        for _ in range(3):
            await queue.append(HEADERS, b"body")
        await queue.trim(0, 1)
        assert (await _examined(kafka, topic)).verdict is Verdict.GOOD
        async with admin(kafka.address) as client:
            await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(2)})
        assert await queue.retention({0: 1}) == Retention(_DAY_S, 0)
        assert await queue.retention({0: 3}) == Retention(_DAY_S, _DAY_S)
    finding = await _examined(kafka, topic)
    assert finding.verdict is Verdict.WRONG
    assert "has forgotten records that were not written" in finding.found


async def _committed(kafka: KafkaPlace, group: str, partition: TopicPartition) -> int | None:
    """Ask as Kafka's own tools do."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.address, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(partition)
        return offset
    finally:
        await consumer.stop()


async def test_kafka_is_told_how_far_the_topic_is_written(kafka: KafkaPlace) -> None:
    """Kafka's own tools show the lag of groups, and operators look there first."""
    topic = new_topic()
    group = f"group-{topic}"
    async with opened(queue_on(kafka, topic, f"partitions=2&group={group}")) as queue:
        await _committed(kafka, group, TopicPartition(topic, 0))
        for _ in range(5):
            await queue.append(HEADERS, b"body", partition=1)
        await queue.trim(1, 3)
    assert await _committed(kafka, group, TopicPartition(topic, 1)) == 3
    assert await _committed(kafka, group, TopicPartition(topic, 0)) is None


async def test_a_writer_tells_the_time_left(kafka: KafkaPlace, tmp_path: Path) -> None:
    """Dashboards warn of a writer that does not keep pace by this figure, and by no other."""
    topic, port = new_topic(), free_port()
    await make_topic(kafka.address, topic, retention_ms=str(_DAY_S * 1000))
    environment = {"AGENTTRACE_QUEUE": kafka.url(topic), "AGENTTRACE_METRICS__PORT": str(port)}
    command = [sys.executable, "-m", "agenttrace_server", "write", "--data", str(tmp_path / "data")]
    process = await anyio.open_process(command, env={**os.environ, **environment}, stdout=None, stderr=None)
    try:
        async with httpx.AsyncClient() as client:
            with anyio.fail_after(60):
                while "agenttrace_write_queue_retention_seconds_left 86400.0" not in await _figures(client, port):
                    assert process.returncode is None
                    await anyio.sleep(0.2)
    finally:
        process.terminate()
        await process.wait()
        await process.aclose()


async def _figures(client: httpx.AsyncClient, port: int) -> str:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx.TransportError:
        return ""


@pytest.mark.parametrize(
    ("retention", "level"),
    [(Retention(_DAY_S, _DAY_S), None), (Retention(_DAY_S, 3600), "WARNING"), (Retention(_DAY_S, 0), "ERROR")],
)
async def test_the_watch_tells_a_figure_and_warns(
    retention: Retention, level: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody looks at a figure at night; the log is what wakes people."""
    told: dict[str, float] = {}

    class _Meter(NoMeter):
        def gauge(self, name: str, value: float) -> None:
            told[name] = value

    class _Queue:
        async def retention(self, watermarks: Mapping[int, int] | None = None) -> Retention | None:
            return retention if watermarks == {0: 7} else None

    class _Catalog:
        async def watermarks(self) -> tuple[UUID, Mapping[int, int]]:
            return uuid4(), {0: 7}

    with anyio.move_on_after(0.1):
        await watch_retention(cast("Any", _Queue()), cast("Any", _Catalog()), _Meter())
    assert told == {"queue_retention_seconds_left": retention.left_s}
    assert [r.levelname for r in caplog.records if r.levelno >= logging.WARNING] == ([level] if level else [])


async def _examined(kafka: KafkaPlace, topic: str) -> Finding:
    settings = Settings(queue=kafka.url(topic, f"group=group-{topic}"))
    finding = await to_thread.run_sync(queue_finding, settings)
    assert finding is not None
    return finding
