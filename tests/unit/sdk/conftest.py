"""A tracer of its own for each test, towards a receiver on the loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agenttrace import AgentTrace
from tests.unit.sdk.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Receive what a test sends."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def tracer(receiver: Receiver) -> Iterator[AgentTrace]:
    """Send to the receiver, when flushed, and only what has ended."""
    tracer = AgentTrace(receiver.url, live="none", interval_s=60)
    yield tracer
    tracer.shutdown(timeout_s=2)
