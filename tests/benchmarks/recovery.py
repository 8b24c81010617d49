"""After a stop and after kill -9: how soon it serves, how soon all is readable, and that nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence

from tests.benchmarks.bodies import Bodies, trace_ids
from tests.benchmarks.client import Client
from tests.benchmarks.load import load, run_load
from tests.benchmarks.lookup import library, pick_trace
from tests.benchmarks.plan import Plan
from tests.benchmarks.readback import missing, spans_of
from tests.benchmarks.report import Table
from tests.benchmarks.sender import Orders
from tests.benchmarks.server import Ports, Server, running, spawn

_STARTS = 3
_KILL_AFTER_S = (3.0, 8.0)
_GIVES_UP_S = 300.0
_CHECKED_TRACES = 3_000


async def start_up(plan: Plan) -> Table:
    """How long a start takes on a folder of many spans, after an orderly stop. The page cache is warm."""
    table = Table("startup", f"Start-up with {plan.library_spans / 1e6:.1f} million spans on disk")
    async with running(plan.library, options=plan.options) as server:
        acked = await library(server, plan, table)
    for attempt in range(_STARTS):
        server = spawn(plan.library, Ports.free(), options=plan.options)
        try:
            ready = await server.ready()
            trace_id = pick_trace(random.Random(attempt), acked)
            await _readable(server, [trace_id])
            first = time.monotonic() - server.begun
        finally:
            stopped = await asyncio.to_thread(server.stop)
        table.add(f"start {attempt + 1}: until it serves", ready, "s", "< 2")
        table.add(f"start {attempt + 1}: until a trace was read", first, "s")
        table.add(f"start {attempt + 1}: orderly stop", stopped, "s", "< 30")
    return table


async def backlog(plan: Plan) -> Table:
    """After kill -9 with a backlog in the log: how soon it accepts, and how soon all of it is readable."""
    table = Table("backlog", f"kill -9 with a backlog of {plan.backlog_bytes / 1e9:.2f} GB")
    bodies = Bodies(count=1, seed=5)
    requests = -(-plan.backlog_bytes // bodies.length)
    with plan.folder("backlog") as folder:
        async with running(folder, options=plan.options) as server:
            os.kill(server.pid_of("write"), signal.SIGSTOP)  # so that all of it stays in the log
            orders = Orders(server.otlp_url, "", requests=requests, connections=plan.connections, seed=2_000)
            result = await run_load(orders, senders=plan.senders)
            table.add("backlog when it was killed", server.ledger().backlog_bytes / 1e9, "GB")
            server.kill()
        acked = result.acked()
        last = [trace_ids(seed, number)[-1] for seed, number in acked[-20:]]
        server = spawn(folder, Ports.free(), options=plan.options)
        try:
            accepting = asyncio.create_task(_accepted(server, bodies))
            await _readable(server, [*last, *_some(acked, 180)])
            table.add("until all is readable", time.monotonic() - server.begun, "s", "< 15")
            table.add("until the first request is acknowledged", await accepting, "s", "< 2")
            await _verdict(table, server, _some(acked, _CHECKED_TRACES))
        finally:
            await asyncio.to_thread(server.stop)
    return table


async def kills(plan: Plan) -> Table:
    """What kill -9 of everything, under load and at a random moment, loses or doubles of what was acknowledged."""
    table = Table("kill", f"kill -9 under {plan.rate / 2:,.0f} spans/s, {plan.kills} time(s)")
    pick = random.Random(11)
    acked: list[tuple[int, int]] = []
    with plan.folder("kill") as folder:
        for turn in range(plan.kills):
            server = spawn(folder, Ports.free(), options=plan.options)
            await server.ready()
            orders = Orders(
                server.otlp_url, "", rate=plan.rate / 2, seconds=120.0, connections=plan.connections,
                seed=3_000 + turn * 10,
            )  # fmt: skip
            async with load(orders, senders=plan.senders) as sending:
                await asyncio.sleep(pick.uniform(*_KILL_AFTER_S))
                server.kill()
                sending.stop()
                result = await sending.wait()
            acked += result.acked()
        async with running(folder, options=plan.options) as server:
            await _readable(server, [trace_ids(seed, number)[-1] for seed, number in acked[-20:]])
            # A record is one request: it is there whole or not at all, so a trace of each tells of all.
            await _verdict(table, server, [trace_ids(seed, number)[-1] for seed, number in acked])
    return table


# --- Asking ------------------------------------------------------------------------------------


def _some(acked: Sequence[tuple[int, int]], count: int) -> list[str]:
    pick = random.Random(3)
    return [pick_trace(pick, acked) for _ in range(count)]


async def _readable(server: Server, ids: Sequence[str]) -> None:
    """Wait until every trace is there.

    Raises:
        TimeoutError: one is not.
    """
    client = server.client()
    try:
        for trace_id in ids:
            while not await spans_of(client, trace_id):
                if time.monotonic() - server.begun > _GIVES_UP_S:
                    raise TimeoutError(f"trace {trace_id} is not readable after {_GIVES_UP_S:.0f} s")
                await asyncio.sleep(0.01)
    finally:
        await client.aclose()


async def _accepted(server: Server, bodies: Bodies) -> float:
    """Send one request until it is acknowledged; return the seconds since the server's start."""
    bodies.patch(bodies.templates[0], 4_000, 0, time.time_ns())
    body = bodies.templates[0].tobytes()
    client = Client(server.otlp_url)
    while True:
        try:
            status, _ = await client.post("/v1/traces", body)
        except OSError:
            status = 0
        if status == 200:
            await client.aclose()
            return time.monotonic() - server.begun
        await asyncio.sleep(0.01)


async def _verdict(table: Table, server: Server, ids: Sequence[str]) -> None:
    absent, doubled = await missing(server.api_url, ids)
    table.add("acknowledged traces asked for", len(ids), "traces")
    table.add("of them lost, or not whole", len(absent), "traces", "< 1")
    table.add("of them with spans twice", len(doubled), "traces", "< 1")
