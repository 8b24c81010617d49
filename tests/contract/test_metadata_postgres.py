"""The metadata contract on PostgreSQL."""

from __future__ import annotations

import pytest

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_contracts.base import Make
from agenttrace_contracts.metadata import MetadataContract
from agenttrace_core.ports.catalog import MetadataStore


class TestPostgres(MetadataContract):
    @pytest.fixture
    def make(self, postgres_url: str) -> Make[MetadataStore]:
        return lambda name: PostgresCatalog.from_url(f"{postgres_url}?schema=s_{name.replace('-', '_')}")
