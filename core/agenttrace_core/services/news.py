"""That the catalog has changed, told from process to process, so that nobody must ask it all the time."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

from agenttrace_core.ports.events import CATALOG, EventBus, Subscription


class CatalogNews:
    """Tells others of a change, and says when it is time to look for theirs.

    Where nothing carries events, it always is. Events are hints and may be lost, so that it also is every
    ``most_s`` seconds.

    Args:
        bus: carries events to other processes; None where there is none.
        heard: what they tell, on the topic ``CATALOG``.
        most_s: seconds after which to look without having heard anything.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        bus: EventBus | None = None,
        heard: Subscription | None = None,
        *,
        most_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus, self._heard = bus, heard
        self._most_s = most_s
        self._clock = clock
        self._looked_s = clock() - most_s

    async def tell(self, version: int) -> None:
        """Say that the catalog has a new version."""
        if self._bus is not None:
            await self._bus.publish(CATALOG, str(version))

    async def is_due(self) -> bool:
        """Say whether to look now; if so, it counts as looked. ``again`` takes that back."""
        if self._heard is None:
            return True
        heard = await self._heard.wait(0)
        if not heard and self._clock() < self._looked_s + self._most_s:
            return False
        self._looked_s = self._clock()
        return True

    def again(self) -> None:
        """Say that the look came to nothing: the next one is due at once."""
        self._looked_s = self._clock() - self._most_s

    async def wait(self, least_s: float) -> None:
        """Wait ``least_s`` seconds, and then for news, until ``most_s`` are over."""
        await anyio.sleep(least_s)
        if self._heard is not None and least_s < self._most_s:
            await self._heard.wait(self._most_s - least_s)
