"""Searches over many millions of spans, as a user asks them over HTTP, beside the same asked of DuckDB by hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import duckdb

from agenttrace_core.schema.attribute_columns import column_of
from tests.benchmarks import ledger
from tests.benchmarks.asking import Asker
from tests.benchmarks.bodies import COHORTS, MODELS
from tests.benchmarks.load import load
from tests.benchmarks.lookup import library
from tests.benchmarks.meter import metered
from tests.benchmarks.panels import WITHOUT_ROLLUPS, lists, panels, panels_by_hand
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Table
from tests.benchmarks.sender import Orders
from tests.benchmarks.server import Server, process_name, running

_NS = 1_000_000_000
_DAY_S = 86_400
_MEMORY = 512e6
_LOAD = 40_000.0
_AHEAD_NS = 3_600 * _NS
_LONG_MS = 2_000.0  # what took so long by hand is not asked again
_LIVE_AFTER_S = 10.0  # until there are live rows, and small files


@dataclass(frozen=True, slots=True)
class Search:
    """A search, and the same by hand: a condition over one object of each file. ``target`` is in ms, at p95."""

    name: str
    query: str
    role: str
    condition: str
    target: float | None = None
    days: float | None = None
    sort: str = "start"


def _column(key: str) -> str:
    return column_of(key)


_TEXTS = ("input_preview", "output_preview", "name", "status_message")


def _text(word: str) -> str:
    return " OR ".join(f"{name} ILIKE '%{word}%'" for name in _TEXTS)


SEARCHES = (
    Search("everything", "", "light", "true", 100),
    Search("a column: 1 of 1", "operation:chat", "light", "operation = 'chat'", 100),
    Search("a column: 1 of 50", "status:error", "light", "status = 'error'", 100),
    Search("a column: 1 of 100", f"model:{MODELS[1]}", "light", f"model = '{MODELS[1]}'", 100),
    Search("a column: 1 of 10,000", f"model:{MODELS[2]}", "light", f"model = '{MODELS[2]}'", 100),
    Search("a column: none", "model:no-such-model", "light", "model = 'no-such-model'", 100),
    Search("a user", "user:user-00017", "light", "user_id = 'user-00017'", 100),
    Search("two columns", "tool:search status:error duration>300ms", "light",
           "tool = 'search' OR status = 'error'", 100),
    Search("an attribute: 1 of 1", "attr.app.retries>2", "attributes",
           f"TRY_CAST({_column('app.retries')} AS BIGINT) > 2", 300),
    Search("an attribute: 1 of 100", f"attr.app.cohort:{COHORTS[1]}", "attributes",
           f"{_column('app.cohort')} = '{COHORTS[1]}'", 300),
    Search("an attribute: 1 of 10,000", f"attr.app.cohort:{COHORTS[2]}", "attributes",
           f"{_column('app.cohort')} = '{COHORTS[2]}'", 300),
    Search("an attribute: none", "attr.app.cohort:none", "attributes", f"{_column('app.cohort')} = 'none'", 300),
    Search("an id in an attribute: none", "gen_ai.response.id:chatcmpl-0", "attributes",
           f"{_column('gen_ai.response.id')} = 'chatcmpl-0'", 300),
    Search("text in previews, a day: common", "refund", "light", _text("refund"), 300, days=1.0),
    Search("text in previews, a day: none", "zebra", "light", _text("zebra"), 300, days=1.0),
    Search("text in previews, a day: common parts, nowhere", "weather refund budget", "light",
           _text("weather refund budget"), 300, days=1.0),
    Search("dearest, a column: 1 of 100", f"model:{MODELS[1]}", "light", f"model = '{MODELS[1]}'", sort="cost"),
    Search("longest, a column: 1 of 50", "status:error", "light", "status = 'error'", sort="duration"),
    Search("most tokens", "", "light", "true", sort="tokens"),
    Search("a relation", "{agent:planner} >> {tool:search status:error}", "light", "status = 'error'"),
    Search("a trace's sum", "trace.errors>0", "light", "status = 'error'"),
    Search("exhaustive: text nowhere, all time", "zebra", "light", _text("zebra")),
)  # fmt: skip


async def searches(plan: Plan) -> Table:
    """How soon the newest 50 traces of a question come, over a folder that is loaded first if it is empty."""
    table = Table("questions", f"Searches over {plan.library_spans / 1e6:.1f} million spans")
    async with running(plan.library, options=plan.options) as server:
        await library(server, plan, table)
        newest = await _newest_start(server)
        async with _memory(server, table):
            await _everything(Asker(server, plan, table), newest)
        _by_hand(plan, table, newest)
        panels_by_hand(plan, table, newest)
    without = {**plan.options, "index": "duckdb:?rollups=false"}
    async with running(plan.library, options=without) as server, _memory(server, table, mark := ", without roll-ups"):
        await panels(Asker(server, plan, table, mark), newest, bound=WITHOUT_ROLLUPS)
    with _copied(plan.library) as folder:
        async with (
            running(folder, options=plan.options) as server,
            _loaded(server, plan),
            _memory(server, table, mark := ", under load"),
        ):
            # What arrives meanwhile is asked for too.
            await _everything(Asker(server, plan, table, mark, factor=2), time.time_ns() + _AHEAD_NS)
    table.note(f"under load: {_LOAD:,.0f} spans/s arrive meanwhile, in times of now, in a copy of the folder")
    return table


async def _everything(asker: Asker, newest: int) -> None:
    for search in SEARCHES:
        path = f"/api/v1/traces?limit=50&q={quote(search.query)}&sort={search.sort}"
        if search.days is not None:
            path += f"&start={newest - int(search.days * _DAY_S * _NS)}&end={newest + 1}"
        await asker.ask(f"{search.name} ({search.query})", path, search.target)
    await panels(asker, newest)
    await lists(asker)


@contextlib.asynccontextmanager
async def _memory(server: Server, table: Table, mark: str = "") -> AsyncIterator[None]:
    async with metered([server.pid_of("query")], process_name) as meter:
        yield
    bound = f"< {_MEMORY / 1e6:.0f}"
    table.add(f"memory (PSS) of the query process{mark}, greatest", meter.peak_pss / 1e6, "MB", bound)


def _by_hand(plan: Plan, table: Table, newest: int) -> None:
    """Ask DuckDB for the rows of all files that satisfy each condition: no trace, no order, no live rows."""
    with contextlib.closing(duckdb.connect(config={"threads": 2, "memory_limit": "256MB"})) as connection:
        connection.execute("SET parquet_metadata_cache = true")
        for search in SEARCHES:
            paths = list(map(str, ledger.objects(plan.library, search.role)))
            where = f"({search.condition})"
            if search.days is not None:
                where += f" AND start_ns > {newest - int(search.days * _DAY_S * _NS)}"
            took = [_timed(connection, paths, where)]
            took += [_timed(connection, paths, where) for _ in range(2) if took[0] < _LONG_MS]
            table.add(f"{search.name}: rows counted by hand, DuckDB alone", min(took), "ms")


def _timed(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], where: str) -> float:
    begun = time.perf_counter()
    statement = f"SELECT count(*) FROM read_parquet($paths) WHERE {where}"  # noqa: S608 - conditions of ours
    connection.execute(statement, {"paths": paths}).fetchall()
    return (time.perf_counter() - begun) * 1e3


async def _newest_start(server: Server) -> int:
    client = server.client()
    answer = await client.json("/api/v1/traces?limit=1")
    await client.aclose()
    return int(answer["items"][0]["start_ns"]) if answer and answer["items"] else time.time_ns()


@contextlib.asynccontextmanager
async def _loaded(server: Server, plan: Plan) -> AsyncIterator[None]:
    """Send spans of now for as long as the block takes."""
    orders = Orders(server.otlp_url, "", rate=_LOAD, seconds=3_600.0, connections=plan.connections, seed=9_000)
    async with load(orders, senders=plan.senders) as sending:
        followed = asyncio.create_task(sending.wait())
        await asyncio.sleep(_LIVE_AFTER_S)
        try:
            yield
        finally:
            followed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await followed


@contextlib.contextmanager
def _copied(folder: Path) -> Iterator[Path]:
    """Give a copy of a data folder, whose objects, which never change, are shared with it."""
    copy = folder.with_name(f"{folder.name}-loaded")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("objects"))
    shutil.copytree(folder / "objects", copy / "objects", copy_function=os.link)
    yield copy
    shutil.rmtree(copy, ignore_errors=True)
