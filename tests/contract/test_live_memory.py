"""The live table's contract within one process."""

from __future__ import annotations

import pytest

from agenttrace_adapters.memory import MemoryLiveTable
from agenttrace_contracts.base import Make
from agenttrace_contracts.live import LiveTableContract
from agenttrace_core.ports.live import LiveTable


class TestMemoryLiveTable(LiveTableContract):
    @pytest.fixture
    def make(self) -> Make[LiveTable]:
        return lambda name: MemoryLiveTable.from_url("memory:")
