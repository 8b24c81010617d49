"""Events through PostgreSQL keep the contract of the event bus."""

from __future__ import annotations

import pytest

from agenttrace_adapters.postgres import PostgresEvents
from agenttrace_contracts.base import Make
from agenttrace_contracts.events import EventsContract
from agenttrace_core.ports.events import EventBus


class TestPostgresEvents(EventsContract):
    @pytest.fixture
    def make(self, postgres_url: str) -> Make[EventBus]:
        return lambda name: PostgresEvents.from_url(f"{postgres_url}?schema={name}")
