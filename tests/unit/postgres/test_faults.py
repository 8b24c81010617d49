"""The catalog while PostgreSQL is locked, stopped or hangs, and when a connection breaks in a commit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
import asyncpg
import pytest
from anyio import to_thread

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE, a_file, replaced_rows
from agenttrace_core.errors import UnavailableError, WatermarkConflictError
from agenttrace_core.ports.catalog import Advance, Commit
from tests.servers.commit_cutter import CommitCutter
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

T = TypeVar("T")

# Without TLS: asyncpg forgets the future of a negotiation that is called off, and asyncio tells of it at some time.
_IMPATIENT = "connect_timeout=1&lock_timeout=0.5&command_timeout=1&sslmode=disable"
_SOON_S = 6.0
"""More than any call may take with those timeouts, all of them after each other."""


async def _is_refused_soon(call: Callable[[], Awaitable[object]]) -> None:
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        await call()
    assert time.monotonic() - began < _SOON_S


async def _are_refused_soon(catalog: PostgresCatalog) -> None:
    """Every kind of call, all at once and more of them than there are connections."""
    calls: list[Callable[[], Awaitable[object]]] = [
        catalog.version, catalog.snapshot, partial(catalog.commit, Commit(QUEUE, [])),
        partial(catalog.lease, "a", "b", ttl_s=1),
    ]  # fmt: skip
    async with anyio.create_task_group() as tasks:
        for call in 4 * calls:
            tasks.start_soon(_is_refused_soon, call)


@asynccontextmanager
async def _own(server: PostgresServer) -> AsyncIterator[PostgresCatalog]:
    with server.place.new_database() as url:
        async with opened(PostgresCatalog.from_url(f"{url}?{_IMPATIENT}")) as catalog:
            yield catalog
            await to_thread.run_sync(server.restore)


async def _goes_on(catalog: PostgresCatalog, at: int) -> None:
    """The same instance works again, and what was committed is there."""
    assert await catalog.watermarks() == (QUEUE, {0: at})
    await catalog.commit(Commit(QUEUE, [Advance(0, at, at + 1)]))
    assert (await catalog.snapshot()).watermarks == {0: at + 1}


async def test_stopped_and_started_again(own_postgres: PostgresServer) -> None:
    """A database that is away for minutes must stop nobody for longer, nor be waited for by a request."""
    async with _own(own_postgres) as catalog:
        await catalog.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
        await to_thread.run_sync(own_postgres.stop)
        await _are_refused_soon(catalog)
        await to_thread.run_sync(own_postgres.start)
        await _goes_on(catalog, 10)


async def test_killed_and_started_again(own_postgres: PostgresServer) -> None:
    """After a crash the connections are gone without a word, and what was committed is not."""
    async with _own(own_postgres) as catalog:
        await catalog.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
        await to_thread.run_sync(own_postgres.kill)
        await to_thread.run_sync(own_postgres.start)
        await _goes_on(catalog, 10)


async def test_hanging(own_postgres: PostgresServer) -> None:
    """A server that takes connections and never answers looks alive: only the caller's own time helps."""
    async with _own(own_postgres) as catalog:
        await catalog.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
        await to_thread.run_sync(own_postgres.pause)
        await _are_refused_soon(catalog)
        await to_thread.run_sync(own_postgres.resume)
        await _goes_on(catalog, 10)


async def test_locked(postgres_url: str) -> None:
    """A backup or a migration may lock the tables for a minute: no call hangs for it, and no backends pile up."""
    async with opened(PostgresCatalog.from_url(f"{postgres_url}?{_IMPATIENT}")) as catalog:
        await catalog.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute("LOCK TABLE agenttrace.catalog IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):
                await _are_refused_soon(catalog)
            waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
            assert await other.fetchval(waiting) <= 1 + 2 * 4
        await other.close()
        await _goes_on(catalog, 10)


async def test_readers_do_not_wait_for_writers(postgres_url: str) -> None:
    """A commit that takes its time must not hold up a query."""
    async with opened(PostgresCatalog.from_url(f"{postgres_url}?{_IMPATIENT}")) as catalog:
        await catalog.commit(Commit(QUEUE, [Advance(0, 0, 10)]))
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute("SELECT 1 FROM agenttrace.catalog FOR UPDATE")
            assert (await catalog.snapshot()).watermarks == {0: 10}
            await _is_refused_soon(partial(catalog.commit, Commit(QUEUE, [Advance(0, 10, 11)])))
        await other.close()
        await _goes_on(catalog, 10)


_SUSPENDED = """
import os, signal, sys, anyio
from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_adapters.sql import Query
from agenttrace_core.errors import UnavailableError

def steps():
    yield Query("SELECT 1")
    print("locked", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    yield Query("SELECT 1")

async def main():
    catalog = PostgresCatalog.from_url(sys.argv[1])
    await catalog.open()
    try:
        await catalog._change(steps())
    except UnavailableError:
        print("refused", flush=True)

anyio.run(main)
"""


def _start_suspended(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _SUSPENDED, url], stdout=subprocess.PIPE, text=True)


async def test_a_process_that_is_suspended_in_a_change_stops_nobody(postgres_url: str) -> None:
    """It holds the lock of all changes: without an end to its transaction, nothing is written until it wakes."""
    url = f"{postgres_url}?{_IMPATIENT}"
    async with opened(PostgresCatalog.from_url(url)) as catalog:
        sleeper = _start_suspended(url)
        assert sleeper.stdout is not None
        assert await to_thread.run_sync(sleeper.stdout.readline) == "locked\n"
        began = time.monotonic()
        commit = Commit(QUEUE, [Advance(0, 0, 10)])
        while True:
            try:
                await catalog.commit(commit)
                break
            except UnavailableError:
                assert time.monotonic() - began < _SOON_S
        os.kill(sleeper.pid, signal.SIGCONT)
        assert await to_thread.run_sync(sleeper.communicate) == ("refused\n", None)


# --- A connection that breaks in a commit -----------------------------------------------------------


def _commit(number: int) -> Commit:
    at = 10 * number
    return Commit(
        QUEUE, [Advance(0, at, at + 10)], [a_file(number)], superseded=[replaced_rows(a_file(number).id, [1])],
        bodies=[number.to_bytes(16, "big")],
    )  # fmt: skip


async def _until_known(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except UnavailableError:
            await anyio.sleep(0.05)


@pytest.mark.parametrize("cuts", ["before", "after", "late", "after after before", "late before after"])
async def test_a_commit_whose_answer_is_lost_counts_once(postgres_url: str, cuts: str) -> None:
    """The writer sends it again: taken for a rival's, it would be written once more; counted twice, it would double."""
    async with CommitCutter(postgres_url, late_s=0.4).running() as proxy:
        async with opened(PostgresCatalog.from_url(proxy.url)) as catalog:
            for number in (0, 1):
                await catalog.register(a_file(number).id, list(a_file(number).objects.values()))
            await catalog.commit(_commit(0))
            proxy.cuts += cuts.split()
            commit = _commit(1)
            version = await _until_known(partial(catalog.commit, commit))
            assert proxy.cuts == []
            assert await catalog.commit(commit) == version == await catalog.version()
            with pytest.raises(WatermarkConflictError):
                await catalog.commit(_commit(1))
            snapshot = await catalog.snapshot()
        async with opened(PostgresCatalog.from_url(postgres_url)) as other:
            assert await other.snapshot() == snapshot
            assert snapshot.files == (a_file(0), a_file(1))
            assert snapshot.watermarks == {0: 20}
            assert await other.bodies(9) == [n.to_bytes(16, "big") for n in (0, 1)]


async def _race(catalog: PostgresCatalog, who: int, won: list[int], steps: int) -> None:
    while True:
        _, at = await _until_known(catalog.watermarks)
        first = at.get(0, 0)
        if first >= steps:
            return
        file = a_file(100 * first + who)
        await _until_known(partial(catalog.register, file.id, list(file.objects.values())))
        commit = Commit(QUEUE, [Advance(0, first, first + 1)], [file])
        try:
            await _until_known(partial(catalog.commit, commit))
        except WatermarkConflictError:
            continue
        won.append(100 * first + who)


async def test_many_committers_and_broken_connections(postgres_url: str) -> None:
    """Of all that compete for a step exactly one wins, and knows it, also where its connection broke."""
    steps, won = 30, list[int]()
    async with CommitCutter(postgres_url, late_s=0.05).running() as proxy:
        made = [PostgresCatalog.from_url(f"{proxy.url}?lock_timeout=10") for _ in range(6)]
        async with anyio.create_task_group() as tasks:
            for who, catalog in enumerate(made):
                await catalog.open()
                tasks.start_soon(_race, catalog, who, won, steps)
            while len(won) < steps:
                proxy.cuts = ["after", "before"]
                await anyio.sleep(0.1)
        proxy.cuts.clear()
        snapshot = await made[0].snapshot()
        for catalog in made:
            await catalog.aclose()
    assert snapshot.watermarks == {0: steps}
    assert {file.id for file in snapshot.files} == {a_file(number).id for number in won}
    assert sorted(number // 100 for number in won) == list(range(steps))
