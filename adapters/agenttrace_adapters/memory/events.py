"""The event bus of one process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from agenttrace_adapters.memory.urls import FromMemoryUrl
from agenttrace_core.ports.events import BufferedSubscription, EventBus, Subscription, check_event, check_topic
from agenttrace_core.ports.sharing import SharingCapabilities


class MemoryEvents(FromMemoryUrl, EventBus):
    """Tells those who listen to this instance."""

    setting = "cache"

    def __init__(self) -> None:
        self._subscribed: defaultdict[str, set[BufferedSubscription]] = defaultdict(set)

    @property
    def capabilities(self) -> SharingCapabilities:
        """This process alone."""
        return SharingCapabilities(shared=False)

    async def open(self) -> None:
        """Nothing to acquire."""

    async def aclose(self) -> None:
        """Nothing to release."""

    async def publish(self, topic: str, event: str) -> None:
        """Tell; see the port."""
        check_event(event)
        for subscription in self._subscribed[check_topic(topic)]:
            subscription.add(event)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        """Listen; see the port."""
        subscription = BufferedSubscription()
        self._subscribed[check_topic(topic)].add(subscription)
        try:
            yield subscription
        finally:
            self._subscribed[topic].discard(subscription)
