"""The same load on AgentTrace in one folder, and in parts on Kafka, MinIO, PostgreSQL and Redis, on the one machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from tests.benchmarks import server
from tests.benchmarks.apart import Apart, Backends, backends, running
from tests.benchmarks.bodies import SPANS_PER_TRACE
from tests.benchmarks.client import Client
from tests.benchmarks.flow import Loadable, Run, under_load
from tests.benchmarks.lookup import pick_trace
from tests.benchmarks.meter import cpu_by_name
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Table, quantiles
from tests.servers.fault_proxy import FaultProxy

_NO_BOUND = {"ingest.max_backlog_bytes": str(1 << 40)}
_FIRST = 5
_WRITTEN_WITHIN_S = 300.0


async def scaled(plan: Plan) -> Table:
    """Spans in and traces out, embedded and in parts, with one writer and with two."""
    table = Table("scaled", "In parts, on Kafka, MinIO, PostgreSQL and Redis, beside the embedded mode")
    table.note("all servers are on this machine, one of each; neither Kafka nor this PostgreSQL syncs")
    with backends() as on:
        for name, writers in (("embedded", 0), ("one writer", 1), ("two writers", 2)):
            with plan.folder("scaled") as folder:
                async with _started(folder, plan, on, writers) as target:
                    fast = await under_load(target, plan, rate=0.0, seconds=plan.scaled_s)
                    _capacity(table, f"{name}, all it takes", fast)
                    await _written(target, fast.result.acked_spans)
            with plan.folder("scaled") as folder:
                async with _started(folder, plan, on, writers) as target:
                    before = cpu_by_name(target.pids, target.process_name)
                    steady = await under_load(target, plan, rate=plan.scaled_rate, seconds=plan.scaled_s)
                    await _written(target, steady.result.acked_spans)
                    after = cpu_by_name(target.pids, target.process_name)
                    cpu = {part: used - before.get(part, 0.0) for part, used in after.items()}
                    _steady(table, f"{name}, {plan.scaled_rate:,.0f} spans/s", steady, cpu)
                    if isinstance(target, Apart) and writers == 2:
                        await _lookups(table, target, on, plan, steady.result.acked())
    return table


@contextlib.asynccontextmanager
async def _started(folder: Path, plan: Plan, on: Backends, writers: int) -> AsyncIterator[Loadable]:
    """Start a deployment with so many writers; none is the embedded mode."""
    options = {**plan.options, **_NO_BOUND}
    if writers:
        async with running(folder, on, writers=writers, options=options) as apart:
            yield apart
    else:
        async with server.running(folder, options=options) as embedded:
            yield embedded


async def _written(target: Loadable, spans: int) -> None:
    """Wait until all is in files, so that what comes next has the machine for itself."""
    give_up = time.monotonic() + _WRITTEN_WITHIN_S
    while (found := await target.look()).rows < spans:
        if time.monotonic() > give_up:
            raise RuntimeError(f"files hold {found.rows:,} of {spans:,} spans after {_WRITTEN_WITHIN_S:.0f} s")
        await asyncio.sleep(0.5)


# --- Spans in ----------------------------------------------------------------------------------


def _capacity(table: Table, name: str, found: Run) -> None:
    table.add(f"{name}: acknowledged", found.result.acked_per_s, "spans/s")
    table.add(f"{name}: written to files", found.written_per_s, "spans/s")
    _latencies(table, f"{name}: acknowledgement", found.result.latencies_ms().tolist())
    table.add(f"{name}: memory (PSS), greatest sum", found.meter.peak_pss / 1e6, "MB")


def _steady(table: Table, name: str, found: Run, cpu: Mapping[str, float]) -> None:
    """Tell of a load; ``cpu`` is what it took until all of it was in files, which is after its end."""
    table.add(f"{name}: acknowledged", found.result.acked_per_s, "spans/s")
    table.add(f"{name}: written to files", found.written_per_s, "spans/s")
    table.add(f"{name}: backlog's growth, share of what arrives", 100 * found.backlog_growth, "%")
    for status, count in found.result.statuses.items():
        if status != "200":
            table.add(f"{name}: answers {status}", count, "requests", "< 1")
    _latencies(table, f"{name}: acknowledgement", found.result.latencies_ms().tolist())
    _latencies(table, f"{name}: acknowledged to readable", found.readback.latencies_ms)
    table.add(f"{name}: sampled traces that never came", found.readback.never, "traces", "< 1")
    millions = found.result.acked_spans / 1e6 or math.nan
    table.add(f"{name}: CPU, parts and servers", sum(cpu.values()) / millions, "s/M spans")
    for part, seconds in sorted(cpu.items()):
        table.add(f"{name}: CPU: {part}", seconds / millions, "s/M spans")
    table.add(f"{name}: memory (PSS), greatest sum", found.meter.peak_pss / 1e6, "MB")
    for part, size in sorted(found.meter.pss_by_name.items()):
        table.add(f"{name}: memory (PSS): {part}, greatest", size / 1e6, "MB")


def _latencies(table: Table, name: str, values: Sequence[float]) -> None:
    for quantile, value in zip((50, 95, 99), quantiles(values, 0.5, 0.95, 0.99), strict=True):
        table.add(f"{name}, p{quantile}", value, "ms")


# --- Traces out --------------------------------------------------------------------------------


async def _lookups(table: Table, apart: Apart, on: Backends, plan: Plan, acked: Sequence[tuple[int, int]]) -> None:
    """Ask for traces by id: the first of a process whose folder is empty, then many; then count what MinIO is asked."""
    table.add("traces by id: live files", (await apart.look()).files, "files")
    pick = random.Random(7)
    cold: list[float] = []
    for _ in range(plan.scaled_starts):
        await _start_anew(apart)
        cold += await _timed(apart, [pick_trace(pick, acked) for _ in range(_FIRST)])
    _latencies(table, f"trace by id, the first {_FIRST} of a new process with an empty folder", cold)
    await _timed(apart, [pick_trace(pick, acked) for _ in range(plan.lookups // 4)])
    _latencies(table, "trace by id, warm", await _timed(apart, [pick_trace(pick, acked) for _ in range(plan.lookups)]))
    with FaultProxy(on.minio.place) as proxy:
        await _start_anew(apart, **proxy.place.environment())
        for name, count in ((f"the first {_FIRST}", _FIRST), ("warm", plan.lookups)):
            if name == "warm":
                await _timed(apart, [pick_trace(pick, acked) for _ in range(plan.lookups)])
            proxy.forget()
            await _timed(apart, [pick_trace(pick, acked) for _ in range(count)])
            table.add(f"GETs per trace by id, {name}", proxy.counts["GET"] / count, "GETs")
        await _start_anew(apart)


async def _start_anew(apart: Apart, **variables: str) -> None:
    """Start the query process again, without what it kept on disk."""
    await asyncio.to_thread(apart.query.stop)
    await asyncio.to_thread(shutil.rmtree, apart.query.data, ignore_errors=True)
    apart.query.launch(**variables)
    await asyncio.to_thread(apart.query.wait_ready)


async def _timed(apart: Apart, ids: Sequence[str]) -> list[float]:
    client, times = Client(apart.api_url), []
    for trace_id in ids:
        took, status, body = await client.timed_get(f"/api/v1/traces/{trace_id}")
        if status != 200 or len(json.loads(body)["spans"]) != SPANS_PER_TRACE:
            raise RuntimeError(f"trace {trace_id} was answered {status}: {body[:200]!r}")
        times.append(took)
    await client.aclose()
    return times
