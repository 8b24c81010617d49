"""The live table within one process: readers get the writer's own tables."""

from __future__ import annotations

from agenttrace_adapters.memory.urls import FromMemoryUrl
from agenttrace_core.ports.live import LiveState, LiveTable


class MemoryLiveTable(FromMemoryUrl, LiveTable):
    """Holds the newest state. Arrow tables do not change, so that sharing them is safe."""

    setting = "live"

    def __init__(self) -> None:
        self._state = LiveState()

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
