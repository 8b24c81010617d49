"""The contract of the rate limiter: nobody takes more than there is, and who was told to wait is served then.

Most tests let nothing flow in (``per_second=0``), so that no clock decides; the others leave a slow machine room.
"""

from __future__ import annotations

import math

import anyio
import pytest

from agenttrace_contracts.base import Contract, Make, opened
from agenttrace_core.ports.limiter import RateLimiter


class LimiterContract(Contract[RateLimiter]):
    """Every promise of ``RateLimiter``. Instances of one name limit together, where that is declared."""

    async def test_a_new_bucket_is_full(self, adapter: RateLimiter) -> None:
        """A project that has sent nothing yet may send its burst."""
        assert await adapter.take("p", 100, per_second=0, burst=100) == 0.0
        assert await adapter.take("p", 1, per_second=0, burst=100) == math.inf

    async def test_a_refused_amount_is_not_taken(self, adapter: RateLimiter) -> None:
        """A sender who tries again and again would lock himself out."""
        assert await adapter.take("p", 60, per_second=0, burst=100) == 0.0
        for _ in range(20):
            assert await adapter.take("p", 50, per_second=0, burst=100) == math.inf
        assert await adapter.take("p", 40, per_second=0, burst=100) == 0.0

    async def test_an_amount_above_the_burst_is_granted_and_owed(self, adapter: RateLimiter) -> None:
        """A body larger than the burst could never be sent otherwise; what follows pays for it."""
        assert await adapter.take("p", 1000, per_second=100, burst=100) == 0.0
        for amount, missing in ((0, 900), (1, 901), (100, 1000), (5000, 1000)):
            assert await adapter.take("p", amount, per_second=100, burst=100) == pytest.approx(missing / 100, abs=3.0)

    async def test_an_amount_above_the_burst_waits_for_a_full_bucket(self, adapter: RateLimiter) -> None:
        """Granted from what is left, it would let any rate pass."""
        assert await adapter.take("p", 1, per_second=0, burst=100) == 0.0
        assert await adapter.take("p", 101, per_second=0, burst=100) == math.inf
        assert await adapter.take("p", 99, per_second=0, burst=100) == 0.0

    async def test_nothing_is_granted_unless_in_debt(self, adapter: RateLimiter) -> None:
        """An amount of 0 asks whether there is debt, and changes nothing."""
        assert await adapter.take("p", 0, per_second=0, burst=10) == 0.0
        assert await adapter.take("p", 10, per_second=0, burst=10) == 0.0
        assert await adapter.take("p", 0, per_second=0, burst=10) == 0.0
        assert await adapter.take("q", 11, per_second=0, burst=10) == 0.0
        assert await adapter.take("q", 0, per_second=0, burst=10) == math.inf

    async def test_who_waited_as_told_is_served(self, adapter: RateLimiter) -> None:
        """A sender that comes at the time it was told, and is refused again, gives up after a few times."""
        assert await adapter.take("p", 30, per_second=100, burst=30) == 0.0
        for amount in (7, 30, 1, 13):
            wait_s = await adapter.take("p", amount, per_second=100, burst=30)
            assert wait_s <= amount / 100 + 1e-6
            await anyio.sleep(wait_s + 0.002)
            assert await adapter.take("p", amount, per_second=100, burst=30) == 0.0

    async def test_it_says_how_long_to_wait(self, adapter: RateLimiter) -> None:
        """Too short, and senders hammer; too long, and what they hold is lost."""
        assert await adapter.take("p", 50_000, per_second=1000, burst=50_000) == 0.0
        assert await adapter.take("p", 50_000, per_second=1000, burst=50_000) == pytest.approx(50, abs=5)

    async def test_a_bucket_does_not_flow_over(self, adapter: RateLimiter) -> None:
        """A project that was silent for a night may send its burst in the morning, not the night's rate."""
        assert await adapter.take("p", 10, per_second=20, burst=10) == 0.0
        await anyio.sleep(1.2)
        assert await adapter.take("p", 10, per_second=20, burst=10) == 0.0
        assert await adapter.take("p", 10, per_second=20, burst=10) > 0.0

    async def test_buckets_are_apart(self, adapter: RateLimiter) -> None:
        """One project's flood must not stop another."""
        for name in ("p", "P", "p ", "p:q", "{p}", "é", "p" * 200):
            assert await adapter.take(name, 10, per_second=0, burst=10) == 0.0
            assert await adapter.take(name, 1, per_second=0, burst=10) == math.inf

    async def test_a_lower_burst_holds_at_once(self, adapter: RateLimiter) -> None:
        """An operator who lowers a limit has a reason."""
        assert await adapter.take("p", 1, per_second=0, burst=1000) == 0.0
        assert await adapter.take("p", 10, per_second=0, burst=10) == 0.0
        assert await adapter.take("p", 1, per_second=0, burst=10) == math.inf

    async def test_large_amounts_are_exact(self, adapter: RateLimiter) -> None:
        """Bursts are bytes, and may be terabytes."""
        burst = 1 << 50
        assert await adapter.take("p", burst - 1, per_second=0, burst=burst) == 0.0
        assert await adapter.take("p", 2, per_second=0, burst=burst) == math.inf
        assert await adapter.take("p", 1, per_second=0, burst=burst) == 0.0
        assert await adapter.take("p", 1, per_second=0, burst=burst) == math.inf

    async def test_takers_at_once_share_what_there_is(self, make: Make[RateLimiter]) -> None:
        """A limiter that reads, and then writes, lets a hundred connections pass where one may."""
        granted: list[int] = []
        async with opened(make("main")) as one, opened(make("main")) as two:
            limiters = [one, two] if one.capabilities.shared else [one]

            async def take(n: int) -> None:
                if await limiters[n % len(limiters)].take("p", 1, per_second=0, burst=20) == 0.0:
                    granted.append(n)

            async with anyio.create_task_group() as tasks:
                for n in range(60):
                    tasks.start_soon(take, n)
        assert len(granted) == 20

    async def test_instances_share_what_is_declared_shared(self, make: Make[RateLimiter]) -> None:
        """Ten processes that limit each for itself let ten times the rate pass."""
        async with opened(make("main")) as one, opened(make("main")) as two:
            assert await one.take("p", 10, per_second=0, burst=10) == 0.0
            left = await two.take("p", 10, per_second=0, burst=10)
            assert left == (math.inf if one.capabilities.shared else 0.0)

    async def test_stores_are_apart(self, make: Make[RateLimiter]) -> None:
        """Two deployments on one server must not limit each other."""
        async with opened(make("one")) as one, opened(make("two")) as two:
            assert await one.take("p", 10, per_second=0, burst=10) == 0.0
            assert await two.take("p", 10, per_second=0, burst=10) == 0.0

    async def test_closing_is_idempotent(self, make: Make[RateLimiter]) -> None:
        """A part that could not start closes what it never opened."""
        adapter = make("main")
        await adapter.aclose()
        adapter = make("main")
        await adapter.open()
        await adapter.aclose()
        await adapter.aclose()
