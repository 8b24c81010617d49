"""Limits, cache and events that are shared through Redis keep the same contracts."""

from __future__ import annotations

import pytest

from agenttrace_adapters.redis import RedisCache, RedisEvents, RedisLimiter
from agenttrace_contracts.base import Make
from agenttrace_contracts.cache import CacheContract
from agenttrace_contracts.events import EventsContract
from agenttrace_contracts.limiter import LimiterContract
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.events import EventBus
from agenttrace_core.ports.limiter import RateLimiter


class TestRedisLimiter(LimiterContract):
    @pytest.fixture
    def make(self, redis_url: str) -> Make[RateLimiter]:
        return lambda name: RedisLimiter.from_url(f"{redis_url}?prefix={name}&timeout_ms=10000")


class TestRedisCache(CacheContract):
    @pytest.fixture
    def make(self, redis_url: str) -> Make[Cache]:
        return lambda name: RedisCache.from_url(f"{redis_url}?prefix={name}&timeout_ms=10000")


class TestRedisEvents(EventsContract):
    @pytest.fixture
    def make(self, redis_url: str) -> Make[EventBus]:
        return lambda name: RedisEvents.from_url(f"{redis_url}?prefix={name}&timeout_ms=10000")
