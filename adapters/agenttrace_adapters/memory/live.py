"""The live table within one process: readers get the writer's own tables."""

from __future__ import annotations

from agenttrace_adapters.memory.urls import check_memory_url
from agenttrace_core.ports.live import LiveState, LiveTable


class MemoryLiveTable(LiveTable):
    """Holds the newest state. Arrow tables do not change, so that sharing them is safe."""

    def __init__(self) -> None:
        self._state = LiveState()

    @classmethod
    def from_url(cls, url: str) -> MemoryLiveTable:
        """Make one from ``memory:``.

        Raises:
            ConfigurationError: the URL says more than that.
        """
        check_memory_url("live", url)
        return cls()

    async def open(self) -> None:
        """Nothing to acquire."""

    async def aclose(self) -> None:
        """Let go of the tables."""
        self._state = LiveState()

    async def publish(self, state: LiveState) -> LiveState:
        """Make ``state`` the newest; see the port."""
        self._state = state
        return state

    async def current(self) -> LiveState:
        """Return the newest state; see the port."""
        return self._state
