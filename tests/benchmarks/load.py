"""Loads: sender processes started, watched and summed up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.bodies import SPANS
from tests.benchmarks.sender import Orders

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ack:
    """A sampled acknowledgement: which request, when (monotonic ns), and its receipt's id ('-' for none)."""

    seed: int
    request: int
    acked_ns: int
    receipt: str


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What became of a load.

    ``records`` are rows of ``sender.RECORD`` by seed. ``service_ms`` are latencies from sending to the
    acknowledgement; ``due_ms`` from when the request was due, so that a stalled server does not hide its stall.
    """

    records: dict[int, npt.NDArray[np.void]]
    statuses: dict[str, int]
    acked_spans: int
    seconds: float
    sender_cpu_s: float
    bytes_a_span: float

    @property
    def acked_per_s(self) -> float:
        """Spans acknowledged a second, from the first sending to the last answer."""
        return self.acked_spans / self.seconds if self.seconds else 0.0

    def latencies_ms(self, since: str = "sent_ns") -> npt.NDArray[np.float64]:
        """Return the latency of every acknowledged request from its ``sent_ns`` or ``due_ns``."""
        good = [rows[rows["status"] == 200] for rows in self.records.values()]
        return np.concatenate([(rows["acked_ns"] - rows[since]) / 1e6 for rows in good])

    def acked(self) -> list[tuple[int, int]]:
        """Return (seed, request number) of every acknowledged request."""
        return [
            (seed, number)
            for seed, rows in self.records.items()
            for number in rows["request"][rows["status"] == 200].tolist()
        ]


def _ignore(_ack: Ack) -> None:
    """Take no notice of a sampled acknowledgement."""


@dataclass(slots=True)
class Load:
    """A load under way. ``wait`` ends with its result; ``stop`` ends it early, after what is in flight."""

    orders: list[Orders]
    processes: list[asyncio.subprocess.Process]
    on_ack: Callable[[Ack], None]
    begun: float = field(default_factory=time.monotonic)

    @property
    def pids(self) -> list[int]:
        """Process ids of the senders."""
        return [process.pid for process in self.processes]

    def stop(self) -> None:
        """Ask the senders to end when what is in flight is answered."""
        for process in self.processes:
            if process.stdin is not None:
                process.stdin.close()

    async def wait(self) -> LoadResult:
        """Wait for every sender's end and sum up.

        Raises:
            RuntimeError: a sender failed; its own error is on standard error.
        """
        done = await asyncio.gather(*map(self._follow, self.orders, self.processes))
        statuses: dict[str, int] = {}
        for summary in done:
            for status, count in summary["statuses"].items():
                statuses[status] = statuses.get(status, 0) + count
        records = {order.seed: np.load(order.record) for order in self.orders}
        rows = np.concatenate(list(records.values()))
        span_ns = rows["acked_ns"].max() - rows["sent_ns"].min() if len(rows) else 0
        return LoadResult(
            records=records,
            statuses=statuses,
            acked_spans=sum(summary["acked_spans"] for summary in done),
            seconds=max(float(span_ns) / 1e9, 1e-9),
            sender_cpu_s=sum(summary["cpu_s"] for summary in done),
            bytes_a_span=done[0]["bytes_a_span"],
        )

    async def _follow(self, orders: Orders, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        async for line in process.stdout:
            word, _, rest = line.decode().partition(" ")
            if word == "ack":
                number, acked_ns, receipt = rest.split()
                self.on_ack(Ack(orders.seed, int(number), int(acked_ns), receipt))
            elif word == "done":
                await process.wait()
                summary: dict[str, Any] = json.loads(rest)
                return summary
        raise RuntimeError(f"sender {process.pid} ended with {await process.wait()} and no summary")


@contextlib.asynccontextmanager
async def load(orders: Orders, *, senders: int = 1, on_ack: Callable[[Ack], None] = _ignore) -> AsyncIterator[Load]:
    """Start a load that is divided among ``senders`` processes; entered once all of them send.

    ``orders.record`` is left to this function. The n-th sender has the seed ``orders.seed + n``.
    """
    with tempfile.TemporaryDirectory(prefix="agenttrace-load-") as folder:
        shares = [
            replace(
                orders,
                record=str(Path(folder) / f"{number}.npy"),
                rate=orders.rate / senders,
                requests=-(-orders.requests // senders),
                connections=-(-orders.connections // senders),
                seed=orders.seed + number,
            )
            for number in range(senders)
        ]
        processes = [await _start(share) for share in shares]
        try:
            for process in processes:
                assert process.stdout is not None
                await process.stdout.readline()
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(b"go\n")
            yield Load(shares, processes, on_ack)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def run_load(orders: Orders, *, senders: int = 1, on_ack: Callable[[Ack], None] = _ignore) -> LoadResult:
    """Run a load to its end."""
    async with load(orders, senders=senders, on_ack=on_ack) as running:
        return await running.wait()


def requests_for(spans: float) -> int:
    """Return how many requests carry at least ``spans`` spans."""
    return -(-int(spans) // SPANS)


async def _start(orders: Orders) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.sender", json.dumps(asdict(orders)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
