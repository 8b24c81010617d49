"""The metadata contract on PostgreSQL."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_contracts.base import Make
from agenttrace_contracts.metadata import MetadataContract
from agenttrace_core.ports.catalog import MetadataStore

# A state machine of thousands of calls takes its time where each is a transaction of a server that others use, too.
_MARKS = [pytest.mark.anyio, pytest.mark.timeout(600)]


class TestPostgres(MetadataContract):
    pytestmark: ClassVar[Any] = _MARKS

    @pytest.fixture
    def make(self, postgres_url: str) -> Make[MetadataStore]:
        return lambda name: PostgresCatalog.from_url(f"{postgres_url}?schema=s_{name.replace('-', '_')}")


class TestBehindPgBouncer(MetadataContract):
    pytestmark: ClassVar[Any] = _MARKS

    @pytest.fixture
    def make(self, pgbouncer_url: str) -> Make[MetadataStore]:
        return lambda name: PostgresCatalog.from_url(f"{pgbouncer_url}&schema=s_{name.replace('-', '_')}")
