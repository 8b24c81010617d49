"""The ceiling of the machine: what no server on it could pass, so that figures compare across machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.load import ROOT, run_load
from tests.benchmarks.report import Table, quantiles
from tests.benchmarks.sender import Orders

_OPENS_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Disk:
    """Appends that were each made durable: how many a second, and how long one took."""

    size: int
    per_s: float
    p50_ms: float
    p99_ms: float


def fsync_speed(folder: Path, size: int, seconds: float) -> Disk:
    """Append ``size`` bytes and fdatasync, again and again, to a file in ``folder``."""
    path, block, times = folder / "fsync-probe", os.urandom(size), []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        begun = time.perf_counter()
        while (start := time.perf_counter()) - begun < seconds:
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - start) * 1e3)
    finally:
        os.close(descriptor)
        path.unlink()
    p50, p99 = quantiles(times, 0.5, 0.99)
    return Disk(size, len(times) / (time.perf_counter() - begun), p50, p99)


@contextlib.asynccontextmanager
async def bare_door() -> AsyncIterator[str]:
    """Run the bare door, and give its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.bare_door", str(port), cwd=ROOT
    )
    try:
        await _wait_for_port(port)
        yield f"http://127.0.0.1:{port}/v1/traces"
    finally:
        process.kill()
        await process.wait()


async def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _OPENS_WITHIN_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def machine(folder: Path, *, seconds: float, senders: int, connections: int) -> Table:
    """Measure the bare door and the disk under ``folder``."""
    table = Table("machine", "The ceiling of this machine")
    async with bare_door() as url:
        result = await run_load(Orders(url, "", seconds=seconds, connections=connections), senders=senders)
    p50, p99 = quantiles(result.latencies_ms(), 0.5, 0.99)
    table.add("bare door: parsed, stored nothing", result.acked_per_s, "spans/s")
    table.add("bare door: latency of a request, p50", p50, "ms")
    table.add("bare door: latency of a request, p99", p99, "ms")
    table.add("bare door: sender's CPU", result.sender_cpu_s / result.acked_spans * 1e6, "s/M spans")
    for size, name in ((4096, "4 KiB"), (1 << 20, "1 MiB"), (16 << 20, "16 MiB")):
        disk = await asyncio.to_thread(fsync_speed, folder, size, min(seconds, 3.0))
        table.add(f"append {name} and fdatasync", disk.per_s, "/s")
        table.add(f"append {name} and fdatasync, p50", disk.p50_ms, "ms")
        table.add(f"append {name} and fdatasync, p99", disk.p99_ms, "ms")
    return table
