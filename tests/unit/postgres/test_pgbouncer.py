"""The catalog behind PgBouncer in transaction mode: no state of a session, and connections shared by many."""

from __future__ import annotations

from functools import partial

import anyio
import asyncpg
import pytest

from agenttrace_adapters.postgres import PostgresCatalog, PostgresEvents
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE
from agenttrace_core.errors import UnavailableError, WatermarkConflictError
from agenttrace_core.ports.catalog import Advance, Commit

pytestmark = pytest.mark.anyio


async def test_many_processes_share_three_connections(pgbouncer_url: str, postgres_url: str) -> None:
    """Thirty processes with a connection or four each are more than a server likes; of a race still one wins."""
    made = [PostgresCatalog.from_url(f"{pgbouncer_url}&connect_timeout=20&lock_timeout=20") for _ in range(10)]
    won: list[int] = []

    async def use(catalog: PostgresCatalog, number: int) -> None:
        await catalog.open()
        for _ in range(3):
            await catalog.snapshot()
        try:
            await catalog.commit(Commit(QUEUE, [Advance(0, 0, 1 + number)]))
        except WatermarkConflictError:
            return
        won.append(1 + number)

    async with anyio.create_task_group() as tasks:
        for number, catalog in enumerate(made):
            tasks.start_soon(use, catalog, number)
    async with opened(PostgresCatalog.from_url(postgres_url)) as direct:
        assert (await direct.snapshot()).watermarks == {0: won[0]}
    assert len(won) == 1
    for catalog in made:
        await catalog.aclose()


async def test_locked_behind_pgbouncer(pgbouncer_url: str, postgres_url: str) -> None:
    """The time that a session would be given must hold for each transaction: the next one is on another session."""
    url = f"{pgbouncer_url}&connect_timeout=2&lock_timeout=0.3&command_timeout=2"
    async with opened(PostgresCatalog.from_url(url)) as catalog:
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute("LOCK TABLE agenttrace.catalog IN ACCESS EXCLUSIVE MODE")
            for call in (catalog.version, catalog.snapshot, partial(catalog.commit, Commit(QUEUE, []))):
                with pytest.raises(UnavailableError, match="lock timeout"):
                    await call()
        await other.close()
        await catalog.commit(Commit(QUEUE, []))


async def test_events_say_that_they_are_not_heard(pgbouncer_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An operator who wonders why pages are slow to move must find the reason; nothing else may fail for it."""
    async with opened(PostgresEvents.from_url(pgbouncer_url)) as events, events.subscribe("t") as heard:
        assert "no events are heard through PgBouncer" in caplog.text
        assert events.capabilities.shared is False
        await events.publish("t", "x")
        assert list(await heard.wait(0.1)) == []


async def test_events_that_are_published_through_it_are_heard_elsewhere(pgbouncer_url: str, postgres_url: str) -> None:
    """Processes that listen directly need not know how the others connect."""
    async with (
        opened(PostgresEvents.from_url(pgbouncer_url)) as behind,
        opened(PostgresEvents.from_url(postgres_url)) as direct,
        direct.subscribe("t") as heard,
    ):
        await behind.publish("t", "x")
        assert list(await heard.wait(20)) == ["x"]
