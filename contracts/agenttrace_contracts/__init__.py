"""Contract suites: what an adapter must do, as tests that any backend author can run.

Here live the suites, one module a port, and the base that they share. pytest, hypothesis and
`agenttrace_core` may enter; adapters and their drivers never do. An author subclasses a suite,
supplies the fixture ``make``, and has proved the adapter::

    class TestMyQueue(QueueContract):
        @pytest.fixture
        def make(self, tmp_path: Path) -> Make[SpanQueue]:
            return lambda name: MyQueue.from_url(f"mine:{tmp_path}/{name}")
"""

from __future__ import annotations

import pytest

_SUITES = (
    "base", "index", "index_arrivals", "index_world", "live", "logs", "metadata", "metadata_machine", "queries",
    "queue", "score_queries", "storage",
)  # fmt: skip

pytest.register_assert_rewrite(*(f"agenttrace_contracts.{suite}" for suite in _SUITES))
