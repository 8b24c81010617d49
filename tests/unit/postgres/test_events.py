"""Events while PostgreSQL is away: nothing fails, and who listens learns that something may have been missed."""

from __future__ import annotations

import time

import pytest
from anyio import to_thread

from agenttrace_adapters.postgres import PostgresEvents
from agenttrace_contracts.base import opened
from agenttrace_core.ports.events import Subscription
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

_PATIENCE_S = 30.0


async def _hears(events: PostgresEvents, heard: Subscription) -> list[str]:
    """Publish until something is heard again."""
    began, came = time.monotonic(), list[str]()
    while "again" not in came:
        assert time.monotonic() - began < _PATIENCE_S
        await events.publish("t", "again")
        came += await heard.wait(0.2)
    return came


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_restart_is_told_as_something_missed(own_postgres: PostgresServer, is_killed: bool) -> None:
    """Who thinks that he heard everything does not look, and shows what was."""
    with own_postgres.place.new_database() as url:
        async with opened(PostgresEvents.from_url(url)) as events, events.subscribe("t") as heard:
            await events.publish("t", "before")
            assert list(await heard.wait(_PATIENCE_S)) == ["before"]
            await to_thread.run_sync(own_postgres.kill if is_killed else own_postgres.stop)
            await events.publish("t", "lost")
            async with events.subscribe("t") as late:
                assert list(await late.wait(0)) == []
                await to_thread.run_sync(own_postgres.start)
                assert (await _hears(events, heard))[0] == ""
                assert "again" in await _hears(events, late)


async def test_a_long_name_is_a_channel_too(postgres_url: str) -> None:
    """PostgreSQL cuts names at 63 bytes, silently where it listens: two deployments would hear each other."""
    schema, topic = "s" * 40, "t" * 40
    urls = [f"{postgres_url}?schema={schema}", f"{postgres_url}?schema={schema[:-1]}x"]
    async with (
        opened(PostgresEvents.from_url(urls[0])) as one,
        opened(PostgresEvents.from_url(urls[1])) as other,
        one.subscribe(topic) as heard,
    ):
        await other.publish(topic, "theirs")
        await one.publish(topic, "ours")
        assert list(await heard.wait(_PATIENCE_S)) == ["ours"]
