from __future__ import annotations

import pytest

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_contracts.base import Make
from agenttrace_contracts.logs import LogQueriesContract
from agenttrace_core.ports.index import SpanIndex


class TestDuckDBIndexOfLogs(LogQueriesContract):
    @pytest.fixture
    def make(self) -> Make[SpanIndex]:
        return lambda name: DuckDBIndex.from_url("duckdb:?threads=1&whole_bytes=1")
