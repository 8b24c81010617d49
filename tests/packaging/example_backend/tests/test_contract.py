"""The example keeps the contract of span queues."""

from __future__ import annotations

from pathlib import Path

import pytest
from agenttrace_example_backend import ExampleQueue

from agenttrace_contracts.base import Make
from agenttrace_contracts.queue import QueueContract
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.registry import make_adapter


class TestExampleQueue(QueueContract):
    """All of it, from one fixture."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make[SpanQueue]:
        return lambda name: ExampleQueue.from_url(f"example:{tmp_path}/{name}")


def test_it_is_found_by_its_scheme() -> None:
    """Users choose it by ``queue = "example:PATH"``."""
    assert isinstance(make_adapter("queue", "example:here"), ExampleQueue)
