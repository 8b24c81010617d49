"""Token buckets in a dictionary (https://en.wikipedia.org/wiki/Token_bucket)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from agenttrace_adapters.memory.urls import FromMemoryUrl
from agenttrace_core.ports.limiter import RateLimiter
from agenttrace_core.ports.sharing import SharingCapabilities

_MAX_BUCKETS = 10_000
_ROUNDING = 1e-9
"""Whoever waited for as long as they were told is served, whatever a float makes of it."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float
    full_s: float


class MemoryLimiter(FromMemoryUrl, RateLimiter):
    """Limits what passes through this process alone. Full buckets are forgotten when there are many.

    Args:
        clock: returns seconds that never go back.
    """

    setting = "cache"

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    @property
    def capabilities(self) -> SharingCapabilities:
        """This process alone."""
        return SharingCapabilities(shared=False)

    async def open(self) -> None:
        """Nothing to acquire."""

    async def aclose(self) -> None:
        """Forget all buckets."""
        self._buckets = {}

    async def take(self, name: str, amount: int, *, per_second: int, burst: int) -> float:
        """Take from a bucket; see the port. Infinity where ``per_second`` is 0 and nothing is left."""
        now_s = self._clock()
        bucket = self._filled(name, now_s, per_second, burst)
        missing = min(amount, burst) - bucket.tokens
        if missing > _ROUNDING:
            return missing / per_second if per_second else math.inf
        bucket.tokens -= amount
        bucket.full_s = now_s + (burst - bucket.tokens) / per_second if per_second else math.inf
        return 0.0

    def _filled(self, name: str, now_s: float, per_second: int, burst: int) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            self._make_room(now_s)
            bucket = self._buckets[name] = _Bucket(burst, now_s, now_s)
        bucket.tokens = min(burst, bucket.tokens + (now_s - bucket.filled_s) * per_second)
        bucket.filled_s = now_s
        return bucket

    def _make_room(self, now_s: float) -> None:
        # A full bucket is as good as none. Projects are authenticated, so the others are few.
        if len(self._buckets) >= _MAX_BUCKETS:
            self._buckets = {name: b for name, b in self._buckets.items() if b.full_s > now_s}
