"""Limits, cache and events of one process keep their contracts."""

from __future__ import annotations

import pytest

from agenttrace_adapters.memory import MemoryCache, MemoryEvents, MemoryLimiter
from agenttrace_contracts.base import Make
from agenttrace_contracts.cache import CacheContract
from agenttrace_contracts.events import EventsContract
from agenttrace_contracts.limiter import LimiterContract
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.events import EventBus
from agenttrace_core.ports.limiter import RateLimiter


class TestMemoryLimiter(LimiterContract):
    @pytest.fixture
    def make(self) -> Make[RateLimiter]:
        return lambda name: MemoryLimiter.from_url("memory:")


class TestMemoryCache(CacheContract):
    @pytest.fixture
    def make(self) -> Make[Cache]:
        return lambda name: MemoryCache.from_url("memory:")


class TestMemoryEvents(EventsContract):
    @pytest.fixture
    def make(self) -> Make[EventBus]:
        return lambda name: MemoryEvents.from_url("memory:")
