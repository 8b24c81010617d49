"""The token buckets, by a clock of the test's own."""

from __future__ import annotations

import math

import pytest

from agenttrace_adapters.memory import MemoryLimiter
from agenttrace_core.errors import ConfigurationError

pytestmark = pytest.mark.anyio


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_burst_is_granted_and_then_the_rate() -> None:
    """A project may send its burst at once, and from then on what it is allowed a second, no more."""
    clock = _Clock()
    limiter = MemoryLimiter(clock=clock)
    assert await limiter.take("p", 100, per_second=10, burst=100) == 0.0
    assert await limiter.take("p", 5, per_second=10, burst=100) == pytest.approx(0.5)
    clock.now_s += 0.5
    assert await limiter.take("p", 5, per_second=10, burst=100) == 0.0
    clock.now_s += 1000
    assert await limiter.take("p", 101, per_second=10, burst=100) == 0.0


async def test_who_waits_as_long_as_told_is_served() -> None:
    """A sender that is told a time and refused again after it gives up."""
    clock = _Clock()
    limiter = MemoryLimiter(clock=clock)
    for amount in (7, 13, 999, 1, 50):
        wait_s = await limiter.take("p", amount, per_second=3, burst=60)
        clock.now_s += wait_s
        if wait_s:
            assert await limiter.take("p", amount, per_second=3, burst=60) == 0.0


async def test_more_than_a_burst_needs_a_full_bucket_and_leaves_debt() -> None:
    """A request larger than the burst must pass at some time, and be paid for."""
    clock = _Clock()
    limiter = MemoryLimiter(clock=clock)
    assert await limiter.take("p", 250, per_second=10, burst=100) == 0.0
    assert await limiter.take("p", 1, per_second=10, burst=100) == pytest.approx(15.1)
    assert await limiter.take("p", 500, per_second=10, burst=100) == pytest.approx(25.0)


async def test_a_refusal_takes_nothing_and_projects_are_apart() -> None:
    """One project's flood must not cost another its share, nor a refusal the project its own."""
    limiter = MemoryLimiter(clock=_Clock())
    assert await limiter.take("a", 90, per_second=10, burst=100) == 0.0
    assert await limiter.take("a", 50, per_second=10, burst=100) > 0
    assert await limiter.take("a", 10, per_second=10, burst=100) == 0.0
    assert await limiter.take("b", 100, per_second=10, burst=100) == 0.0


async def test_a_rate_of_nothing_waits_for_ever() -> None:
    """A project that is shut off gets its answer rather than a division by zero."""
    limiter = MemoryLimiter(clock=_Clock())
    assert await limiter.take("p", 5, per_second=0, burst=5) == 0.0
    assert await limiter.take("p", 1, per_second=0, burst=5) == math.inf


async def test_full_buckets_are_forgotten() -> None:
    """Names come from outside; remembering each for ever is memory without bound."""
    clock = _Clock()
    limiter = MemoryLimiter(clock=clock)
    for n in range(25_000):
        clock.now_s += 1
        await limiter.take(f"p{n}", 1, per_second=1, burst=1)
    assert len(limiter._buckets) <= 10_000


def test_a_wrong_url_says_what_would_be_right() -> None:
    """An operator who mistypes the key must not be left with a traceback."""
    with pytest.raises(ConfigurationError, match="memory:"):
        MemoryLimiter.from_url("memory:somewhere")
