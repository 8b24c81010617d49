"""The storage contract in memory."""

from __future__ import annotations

import pytest

from agenttrace_adapters.memory import MemoryStorage
from agenttrace_contracts.base import Make
from agenttrace_contracts.storage import StorageContract
from agenttrace_core.ports.storage import ObjectStorage


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def make(self) -> Make[ObjectStorage]:
        return lambda name: MemoryStorage.from_url("memory:")
