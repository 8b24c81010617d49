"""The same load on another system, so that figures compare on the same machine in the same run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import meter
from tests.benchmarks.bodies import trace_ids
from tests.benchmarks.client import Client
from tests.benchmarks.load import Ack, load
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Table, quantiles
from tests.benchmarks.sender import Orders

_OPENS_WITHIN_S = 60.0
_READABLE_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Other:
    """Another system.

    ``command`` starts it, with ``{folder}`` where its data goes; ``otlp_url`` takes OTLP/HTTP;
    ``trace_url`` reads a trace, with ``{trace_id}`` in it, and answers 200 with the id in the body.
    """

    name: str
    command: str
    otlp_url: str
    trace_url: str


async def compare(other: Other, plan: Plan, seconds: float = 20.0) -> Table:
    """Send all that it takes for ``seconds``, then read back what was sampled."""
    table = Table("against", f"{other.name}, the same load")
    with plan.folder("against") as folder:
        folder.mkdir()
        process = _start(other, folder)
        try:
            await _open(other, process)
            await _measure(other, plan, process.pid, seconds, folder, table)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return table


async def _measure(other: Other, plan: Plan, pid: int, seconds: float, folder: Path, table: Table) -> None:
    sampled: list[Ack] = []
    orders = Orders(other.otlp_url, "", seconds=seconds, connections=plan.connections, seed=6_000, sample_every=5)
    async with meter.metered([pid], lambda _: other.name) as metered:
        async with load(orders, senders=plan.senders, on_ack=sampled.append) as sending:
            result = await sending.wait()
        millions = result.acked_spans / 1e6
        table.add("acknowledged", result.acked_per_s, "spans/s")
        found, times = await _read_back(other, sampled)
    cpu = sum(metered.cpu_s.values()) + result.sender_cpu_s
    table.add("CPU, server and sender, reading back too", cpu / millions, "s/M spans")
    table.add("memory (PSS), greatest", metered.peak_pss / 1e6, "MB")
    size = await asyncio.to_thread(lambda: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    table.add("on disk, all of it", size / result.acked_spans, "B/span")
    table.add("sampled traces that were readable", 100 * found / max(len(sampled), 1), "%")
    for quantile, value in zip((50, 95), quantiles(times, 0.5, 0.95), strict=True):
        table.add(f"trace by id, one client, p{quantile}", value, "ms")


async def _read_back(other: Other, sampled: list[Ack]) -> tuple[int, list[float]]:
    """Ask for a trace of every sample until it is there; return how many came, and the times of a last reading."""
    client = Client(other.trace_url)
    path = "/" + other.trace_url.split("/", 3)[3]
    found: list[str] = []
    deadline = time.monotonic() + _READABLE_WITHIN_S
    for ack in sampled:
        trace_id = trace_ids(ack.seed, ack.request)[-1]
        while True:
            status, body = await client.get(path.format(trace_id=trace_id))
            if status == 200 and trace_id.encode() in body:
                found.append(trace_id)
                break
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
    times = [(await client.timed_get(path.format(trace_id=trace_id)))[0] for trace_id in found]
    await client.aclose()
    return len(found), times


def _start(other: Other, folder: Path) -> subprocess.Popen[bytes]:
    words = [word.format(folder=folder) for word in shlex.split(other.command)]
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)


async def _open(other: Other, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _OPENS_WITHIN_S
    for url in (other.otlp_url, other.trace_url):
        client = Client(url)
        while True:
            with contextlib.suppress(OSError):
                await client.get("/")
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{other.name} does not serve {url} (status {process.poll()})")
            await asyncio.sleep(0.1)
        await client.aclose()
