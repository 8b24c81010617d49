"""The event bus: short messages between processes, to whoever listens now."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.ports.adapter import Adapter
from agenttrace_core.ports.sharing import SharingCapabilities

MAX_EVENT_BYTES = 4096
"""The longest event in UTF-8. What is longer belongs into the catalog or the storage, and its name into the event."""

CATALOG = "catalog"
"""The topic of the catalog: an event, its version, after each commit."""

_TOPIC = re.compile("[a-z0-9_]{1,40}")
_MOST_WAITING = 1000


class Subscription(Protocol):
    """What came of a topic since it was subscribed to."""

    @abstractmethod
    async def wait(self, timeout_s: float) -> Sequence[str]:
        """Return the events that came since the last call, in order; wait up to ``timeout_s`` seconds for one.

        Empty where none came. An event ``""`` besides those that were published says that some may have been
        missed: after an absence of the backend, or because this subscriber was too slow.
        """


class EventBus(Adapter, Protocol):
    """Events by topic, at most once: a hint that something is worth a look, never the only word of it.

    Nothing here fails: while the backend is away nobody hears anything, and who only waits for events must look
    for himself now and then. It may be opened then, too.
    """

    @property
    @abstractmethod
    def capabilities(self) -> SharingCapabilities:
        """What this adapter does; constant."""

    @abstractmethod
    async def publish(self, topic: str, event: str) -> None:
        """Tell all that are subscribed to ``topic`` now. Events of one publisher arrive in order.

        A topic is 1 to 40 characters of ``a-z``, ``0-9``, ``_``.

        Raises:
            InvalidInputError: the topic is none, or ``event`` is empty or longer than ``MAX_EVENT_BYTES``.
        """

    @abstractmethod
    def subscribe(self, topic: str) -> AbstractAsyncContextManager[Subscription]:
        """Listen to a topic for the length of a block: entered, it hears all that is published from then on.

        Where the backend is away it is entered all the same, and hears from its return on.

        Raises, when entered:
            InvalidInputError: the topic is none.
        """


class BufferedSubscription(Subscription):
    """What an adapter puts events into as they come, on the event loop; the oldest go where there are too many."""

    def __init__(self) -> None:
        self._events: deque[str] = deque()
        self._missed = False
        self._arrived = anyio.Event()

    def add(self, event: str) -> None:
        """An event came."""
        self._events.append(event)
        if len(self._events) > _MOST_WAITING:
            self._events.popleft()
            self._missed = True
        self._arrived.set()

    def missed(self) -> None:
        """Some may have come that were not heard."""
        self._missed = True
        self._arrived.set()

    async def wait(self, timeout_s: float) -> Sequence[str]:
        """As of ``Subscription``."""
        with anyio.move_on_after(timeout_s):
            await self._arrived.wait()
        events = [""] * self._missed + list(self._events)
        self._events.clear()
        self._missed, self._arrived = False, anyio.Event()
        return events


def check_topic(topic: str) -> str:
    """Return ``topic`` if it can be one.

    Raises:
        InvalidInputError: it cannot.
    """
    if _TOPIC.fullmatch(topic) is None:
        raise InvalidInputError(f"topic {topic[:80]!r}: wanted are 1 to 40 characters of a-z, 0-9 and _")
    return topic


def check_event(event: str) -> str:
    """Return ``event`` if it can be told.

    Raises:
        InvalidInputError: it is empty, or longer than ``MAX_EVENT_BYTES``.
    """
    size = len(event.encode())
    if not 1 <= size <= MAX_EVENT_BYTES:
        raise InvalidInputError(f"an event of {size} bytes; wanted are 1 to {MAX_EVENT_BYTES}")
    return event
