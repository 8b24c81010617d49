"""Kafka keeps the queue's contract, with one partition and with four."""

from __future__ import annotations

import uuid

import pytest

from agenttrace_adapters.kafka import KafkaQueue
from agenttrace_contracts.base import Make
from agenttrace_contracts.queue import QueueContract
from agenttrace_core.ports.queue import SpanQueue
from tests.servers.kafka import KafkaPlace


class TestKafkaQueueOfOnePartition(QueueContract):
    """A topic of one partition."""

    @pytest.fixture
    def make(self, kafka: KafkaPlace) -> Make[SpanQueue]:
        return _maker(kafka, "partitions=1")


class TestKafkaQueueOfFourPartitions(QueueContract):
    """A topic as it is made by default."""

    @pytest.fixture
    def make(self, kafka: KafkaPlace) -> Make[SpanQueue]:
        return _maker(kafka, "partitions=4")


def _maker(kafka: KafkaPlace, query: str) -> Make[SpanQueue]:
    """Make queues on topics of this test's own; one name is one topic. A busy machine is no broker that is away."""
    run = uuid.uuid4().hex[:12]
    return lambda name: KafkaQueue.from_url(kafka.url(f"contract-{run}-{name}", f"{query}&timeout_ms=10000"))
