from __future__ import annotations

import pytest

from agenttrace_adapters.memory import MemoryIndex
from agenttrace_contracts.base import Make
from agenttrace_contracts.score_queries import ScoreQueriesContract
from agenttrace_core.ports.index import SpanIndex


class TestMemoryIndexByScores(ScoreQueriesContract):
    @pytest.fixture
    def make(self) -> Make[SpanIndex]:
        return lambda name: MemoryIndex.from_url("memory:")
