"""The metadata contract on SQLite, in a file and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_contracts.base import Make
from agenttrace_contracts.metadata import MetadataContract
from agenttrace_core.ports.catalog import MetadataStore


class TestSqliteFile(MetadataContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make[MetadataStore]:
        return lambda name: SqliteCatalog.from_url(f"sqlite:{tmp_path / name}.sqlite")


class TestSqliteInMemory(MetadataContract):
    @pytest.fixture
    def make(self) -> Make[MetadataStore]:
        return lambda name: SqliteCatalog.from_url("sqlite::memory:")
