"""The two queues that need no service keep the queue's contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_adapters.memory.queue import MemoryQueue
from agenttrace_contracts.base import Make
from agenttrace_contracts.queue import QueueContract
from agenttrace_core.ports.queue import SpanQueue


class TestLocalLogQueue(QueueContract):
    """The local log as it is configured by default."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make[SpanQueue]:
        return lambda name: LocalLogQueue.from_url(f"log:{tmp_path}/{name}")


class TestLocalLogQueueOfSmallSegments(QueueContract):
    """The local log where nearly every group begins a new segment file, and trimming bites."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make[SpanQueue]:
        return lambda name: LocalLogQueue.from_url(f"log:{tmp_path}/{name}?segment_bytes=4096")


class TestMemoryQueue(QueueContract):
    """The queue in memory, which declares that it keeps nothing."""

    @pytest.fixture
    def make(self) -> Make[SpanQueue]:
        return lambda name: MemoryQueue.from_url("memory:")


class TestMemoryQueueOfFourPartitions(QueueContract):
    """The same as larger queues are: in several partitions, with records that may not be long."""

    @pytest.fixture
    def make(self) -> Make[SpanQueue]:
        return lambda name: MemoryQueue.from_url("memory:?partitions=4&max_record_bytes=1048576")
