from __future__ import annotations

import pytest

from agenttrace_adapters.memory.index import MemoryIndex
from agenttrace_contracts.base import Make
from agenttrace_contracts.index import Objects
from agenttrace_contracts.index_world import FolderObjects
from agenttrace_contracts.queries import SpanQueriesContract
from agenttrace_core.ports.index import SpanIndex


class TestMemoryQueries(SpanQueriesContract):
    @pytest.fixture
    def objects(self) -> Objects:
        """One kind of storage is enough for what reads every object whole."""
        return FolderObjects

    @pytest.fixture
    def make(self) -> Make[SpanIndex]:
        return lambda name: MemoryIndex.from_url("memory:")
