"""Traces out of many millions of spans: by id, ids that are not there, many clients, one very long trace."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Sequence

import numpy as np

from tests.benchmarks.bodies import SPANS, SPANS_PER_TRACE, TRACES, single_trace, trace_ids
from tests.benchmarks.client import Client
from tests.benchmarks.load import requests_for, run_load
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Table, quantiles
from tests.benchmarks.sender import Orders
from tests.benchmarks.server import Server, running

_WARM_UP = 300
_CLIENTS = 16
_PAGES = 20
_SETTLES_WITHIN_S = 900.0
_PATIENCE_S = 600.0  # of a sender that is told to wait
_STILL_S = 40.0  # longer than two looks of the compactor


async def by_id(plan: Plan) -> Table:
    """How quickly traces come by id, over a folder that is loaded first if it is empty."""
    table = Table("lookup", f"Traces by id, over {plan.library_spans / 1e6:.1f} million spans")
    async with running(plan.library, options=plan.options) as server:
        acked = await library(server, plan, table)
        pick = random.Random(7)
        known = [pick_trace(pick, acked) for _ in range(_WARM_UP + plan.lookups)]
        unknown = [os.urandom(16).hex() for _ in range(_WARM_UP + plan.lookups)]
        for name, ids, status in (("trace by id", known, 200), ("an id that is not there", unknown, 404)):
            times = await _timed(server, ids, status)
            for quantile, value in zip((50, 95, 99), quantiles(times[_WARM_UP:], 0.5, 0.95, 0.99), strict=True):
                table.add(f"{name}, one client, p{quantile}", value, "ms", "< 10" if quantile == 95 else "")
        await _many_clients(server, plan, table, lambda: pick_trace(pick, acked))
    return table


async def big_trace(plan: Plan) -> Table:
    """How soon the first page of a very long trace comes, hot and from files, and that all of it is there."""
    requests = requests_for(plan.big_trace_spans)
    spans = requests * SPANS
    table = Table("big", f"One trace of {spans:,} spans")
    with plan.folder("big") as folder:
        trace_id = os.urandom(16)
        async with running(folder, options={**plan.options, "write.flush_age": "15s"}) as server:
            sender, reader = Client(server.otlp_url), server.client()
            for body in single_trace(trace_id, requests, time.time_ns()):
                status, answer = await sender.post("/v1/traces", body)
                if status != 200:
                    raise RuntimeError(f"a request of the long trace was answered {status}: {answer[:200]!r}")
            await _all_pages(reader, trace_id.hex(), spans)
            await _first_pages(reader, trace_id.hex(), "not yet in files", table)
            await server.written(spans, within_s=120.0)
            table.add("all pages", await _all_pages(reader, trace_id.hex(), spans), "ms")
            await _first_pages(reader, trace_id.hex(), "from files", table)
            await sender.aclose()
            await reader.aclose()
    return table


# --- The library -------------------------------------------------------------------------------


async def library(server: Server, plan: Plan, table: Table) -> Sequence[tuple[int, int]]:
    """Load the folder, unless it is loaded; return (seed, request number) of what it holds.

    The spans' times are spread over ``plan.library_days``, as a folder of that size would have them.
    """
    record = plan.library.with_suffix(".requests.npy")
    if not record.exists():
        orders = Orders(
            server.otlp_url, "", rate=plan.rate, requests=requests_for(plan.library_spans),
            connections=plan.connections, spread_s=plan.library_days * 86_400, seed=1_000,
            give_up_s=_PATIENCE_S,
        )  # fmt: skip
        result = await run_load(orders, senders=plan.senders)
        await server.written(result.acked_spans, within_s=_SETTLES_WITHIN_S)
        await _still(server)
        np.save(record, np.array(result.acked()))
    ledger = server.ledger()
    table.add("spans in files", ledger.rows, "spans")
    table.add("live files", ledger.files, "files")
    for role, size in sorted(ledger.object_bytes.items()):
        table.add(f"stored: {role}", size / ledger.rows, "B/span")
    table.note(f"span times spread over {plan.library_days:g} day(s)")
    return [(seed, number) for seed, number in np.load(record).tolist()]


def pick_trace(pick: random.Random, acked: Sequence[tuple[int, int]]) -> str:
    """Return the id of any of the traces that were acknowledged."""
    seed, number = pick.choice(acked)
    return trace_ids(seed, number)[pick.randrange(TRACES)]


async def _still(server: Server) -> None:
    """Wait until the compactor has nothing more to merge, or for as long as is reasonable."""
    begun = changed = time.monotonic()
    held: dict[str, int] = {}
    while (now := time.monotonic()) - changed < _STILL_S and now - begun < _SETTLES_WITHIN_S:
        # A merge of one file leaves as many: what files hold tells of it.
        if (found := server.ledger().object_bytes) != held:
            held, changed = found, now
        await asyncio.sleep(1.0)


# --- Reading -----------------------------------------------------------------------------------


async def _timed(server: Server, ids: Sequence[str], status: int) -> list[float]:
    client, times = server.client(), []
    for trace_id in ids:
        took, found, body = await client.timed_get(f"/api/v1/traces/{trace_id}")
        if found != status or (status == 200 and len(json.loads(body)["spans"]) != SPANS_PER_TRACE):
            raise RuntimeError(f"trace {trace_id} was answered {found}: {body[:200]!r}")
        times.append(took)
    await client.aclose()
    return times


async def _many_clients(server: Server, plan: Plan, table: Table, trace_id: Callable[[], str]) -> None:
    times: list[float] = []
    end = time.monotonic() + plan.clients_s

    async def ask() -> None:
        client = server.client()
        while time.monotonic() < end:
            took, status, _ = await client.timed_get(f"/api/v1/traces/{trace_id()}")
            assert status == 200
            times.append(took)
        await client.aclose()

    await asyncio.gather(*(ask() for _ in range(_CLIENTS)))
    table.add(f"trace by id, {_CLIENTS} clients", len(times) / plan.clients_s, "/s")
    for quantile, value in zip((50, 95), quantiles(times, 0.5, 0.95), strict=True):
        table.add(f"trace by id, {_CLIENTS} clients, p{quantile}", value, "ms")


async def _all_pages(client: Client, trace_id: str, spans: int) -> float:
    """Read every page until the trace is whole; return the milliseconds of the reading that found it so.

    Raises:
        RuntimeError: it is not whole within a minute.
    """
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        begun = time.perf_counter()
        if await _count(client, trace_id) == spans:
            return (time.perf_counter() - begun) * 1e3
        await asyncio.sleep(0.5)
    raise RuntimeError(f"trace {trace_id} has not its {spans:,} spans after a minute")


async def _count(client: Client, trace_id: str) -> int:
    """Return how many different spans all pages of a trace have."""
    found: set[str] = set()
    path = f"/api/v1/traces/{trace_id}"
    page = await client.json(path)
    while page is not None:
        found |= {span["span_id"] for span in page["spans"]}
        page = await client.json(f"{path}?cursor={page['next_cursor']}") if page["next_cursor"] else None
    return len(found)


async def _first_pages(client: Client, trace_id: str, where: str, table: Table) -> None:
    """Ask for what a page of a long trace is made of: pages by time and as a tree, parts of it, one span."""
    path = f"/api/v1/traces/{trace_id}"
    first = await client.json(f"{path}?order=tree")
    table.add(f"first page, {where}: spans in it", len(first["spans"]), "spans")
    span_id = max(first["spans"][1:], key=lambda span: span["descendants"])["span_id"]
    asked = {
        "first page": ("", "< 100"),
        "first page in tree order": ("?order=tree", "< 100"),
        "next page of 100": (
            f"/spans?limit=100&cursor={(await client.json(f'{path}/spans?limit=100'))['next_cursor']}",
            "",
        ),
        "two levels of a subtree": (f"/spans?subtree={span_id}&depth=1", ""),
        "search inside": ("/spans?q=status:error&limit=100", ""),
        "one span": (f"/spans/{span_id}", ""),
    }
    for name, (rest, goal) in asked.items():
        times = [(await client.timed_get(path + rest))[0] for _ in range(_PAGES)]
        for quantile, value in zip((50, 95), quantiles(times, 0.5, 0.95), strict=True):
            table.add(f"{name}, {where}, p{quantile}", value, "ms", goal)
