"""Processes look at the catalog when it has changed, and sometimes when it may have."""

from __future__ import annotations

import time

import anyio
import pytest

from agenttrace_adapters.memory import MemoryEvents
from agenttrace_core.ports.events import CATALOG
from agenttrace_core.services.news import CatalogNews

pytestmark = pytest.mark.anyio


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_without_events_it_is_always_time_to_look() -> None:
    """A process that nobody tells anything must ask."""
    news = CatalogNews()
    assert await news.is_due()
    assert await news.is_due()
    await news.tell(1)
    await news.wait(0.01)


async def test_a_look_is_due_when_something_was_told_and_every_few_seconds() -> None:
    """Asked by every process all the time, the database has nothing else to do; never, and a lost event is missed."""
    events, clock = MemoryEvents(), _Clock()
    async with events.subscribe(CATALOG) as heard:
        news = CatalogNews(events, heard, most_s=5, clock=clock)
        assert await news.is_due()
        assert not await news.is_due()
        await news.tell(2)
        await news.tell(3)
        assert await news.is_due()
        assert not await news.is_due()
        clock.now_s += 5
        assert await news.is_due()
        assert not await news.is_due()
        news.again()
        assert await news.is_due()


async def test_waiting_ends_with_the_news() -> None:
    """A compactor that sleeps through a commit leaves small files for longer than it has to."""
    events = MemoryEvents()
    async with events.subscribe(CATALOG) as heard:
        news = CatalogNews(events, heard, most_s=60)
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(news.wait, 0.2)
            await anyio.sleep(0.05)
            await news.tell(2)
        assert 0.2 <= time.monotonic() - began < 30
        quick = CatalogNews(events, heard, most_s=0.1)
        await quick.wait(0.05)
