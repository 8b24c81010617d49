"""The metadata contract on PostgreSQL."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_contracts.base import Make
from agenttrace_contracts.metadata import MetadataContract
from agenttrace_core.ports.catalog import MetadataStore


class TestPostgres(MetadataContract):
    @pytest.fixture
    def make(self, postgres_url: str) -> Make[MetadataStore]:
        return lambda name: PostgresCatalog.from_url(f"{postgres_url}?schema=s_{name.replace('-', '_')}")


class TestBehindPgBouncer(MetadataContract):
    # Without prepared statements, and with a transaction for every look, it takes three times as long.
    pytestmark: ClassVar[Any] = [pytest.mark.anyio, pytest.mark.timeout(600)]

    @pytest.fixture
    def make(self, pgbouncer_url: str) -> Make[MetadataStore]:
        return lambda name: PostgresCatalog.from_url(f"{pgbouncer_url}&schema=s_{name.replace('-', '_')}")
