"""Spans in: how many are acknowledged, written and readable, for how long, and what that costs."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from tests.benchmarks.bodies import SPANS
from tests.benchmarks.ledger import Ledger
from tests.benchmarks.load import LoadResult, load
from tests.benchmarks.meter import Meter, metered
from tests.benchmarks.plan import Plan
from tests.benchmarks.readback import Readback, readback
from tests.benchmarks.report import Table, quantiles
from tests.benchmarks.sender import Orders
from tests.benchmarks.server import running

_SAMPLES_PER_S = 3.0  # each is asked for several times; more of them would be a load of their own
_KEEPS_UP = 0.05  # share of what arrives by which the backlog may grow, with the saw teeth of flushing in it
_GIB = 1 << 30


@dataclass(slots=True)
class Run:
    """One load on one server, and all that was seen of it. ``ledgers`` is about one a second."""

    result: LoadResult
    meter: Meter
    readback: Readback
    ledgers: list[tuple[float, Ledger]] = field(default_factory=list)

    @property
    def written_per_s(self) -> float:
        """Spans written to files a second: the slope of a line through what was seen after the first fifth."""
        return _slope([(at, ledger.rows) for at, ledger in self._settled()])

    @property
    def backlog_growth(self) -> float:
        """By what share of what arrives the backlog grows; 0 where the writer keeps up."""
        settled = self._settled()
        arriving = _slope([(at, ledger.log_end) for at, ledger in settled])
        return _slope([(at, ledger.backlog_bytes) for at, ledger in settled]) / arriving if arriving else 0.0

    @property
    def keeps_up(self) -> bool:
        """Whether this could have gone on: nothing refused, all readable, and the backlog did not grow."""
        only_acked = set(self.result.statuses) == {"200"}
        return only_acked and not self.readback.never and self.backlog_growth < _KEEPS_UP

    def _settled(self) -> list[tuple[float, Ledger]]:
        return [(at, ledger) for at, ledger in self.ledgers if at >= 0.2 * self.result.seconds]


async def run(
    folder: Path, plan: Plan, *, rate: float, seconds: float, options: Mapping[str, str] | None = None
) -> Run:
    """Start a server, load it for ``seconds`` with ``rate`` spans a second (0: all it takes), and watch."""
    async with running(folder, options={**plan.options, **(options or {})}) as server:
        return await under_load(server, plan, rate=rate, seconds=seconds)


class Loadable(Protocol):
    """What can be loaded and watched: where it takes spans and answers, what it is made of, and what it holds."""

    otlp_url: str
    api_url: str

    @property
    def pids(self) -> Sequence[int]:
        """Processes of which, and of whose descendants, the costs are counted."""

    @property
    def process_name(self) -> Callable[[list[str]], str]:
        """Names one of them by its command."""

    async def look(self) -> Ledger:
        """Return what it holds now."""


async def under_load(server: Loadable, plan: Plan, *, rate: float, seconds: float, seed: int = 1) -> Run:
    """Load a server that runs for ``seconds`` with ``rate`` spans a second (0: all it takes), and watch."""
    every = max(1, round((rate or 200_000.0) / SPANS / _SAMPLES_PER_S))
    orders = Orders(
        server.otlp_url, "", rate=rate, seconds=seconds, connections=plan.connections, sample_every=every, seed=seed
    )
    async with (
        readback(server.api_url) as follower,
        load(orders, senders=plan.senders, on_ack=follower.on_ack) as sending,
        metered(server.pids, server.process_name) as meter,
        watched(server.look) as ledgers,
    ):
        result = await sending.wait()
    return Run(result, meter, follower, ledgers)


@contextlib.asynccontextmanager
async def watched(
    ledger: Callable[[], Awaitable[Ledger]], every_s: float = 1.0
) -> AsyncIterator[list[tuple[float, Ledger]]]:
    """Read what a server holds about once a second, and once more at the end of the block."""
    seen: list[tuple[float, Ledger]] = []
    begun = time.monotonic()

    async def look() -> None:
        found = await ledger()
        seen.append((time.monotonic() - begun, found))

    async def watch() -> None:
        while True:
            await look()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await look()


# --- Measures ----------------------------------------------------------------------------------


async def acknowledged(plan: Plan) -> Table:
    """How many spans a second are acknowledged, fsynced, when senders send all that is taken."""
    table = Table("ack", "Acknowledged with fsync, as fast as it goes")
    with plan.folder("ack") as folder:
        # The writer is slower than the door; what is measured here is the door, so nothing is turned away.
        options = {"ingest.max_backlog_bytes": str(64 * _GIB)}
        found = await run(folder, plan, rate=0.0, seconds=plan.ack_s, options=options)
    table.note(f"ingest.max_backlog_bytes = {64 * _GIB}, so that the door is never told to wait for the writer")
    _flow(table, found, ack_target=200_000.0)
    _cost(table, found, found.result.acked_spans, target=False)
    return table


async def sustained(plan: Plan) -> Table:
    """Whether a rate can be held: acknowledged, written to Parquet and readable, with no growing backlog."""
    table = Table("sustain", f"End to end at {plan.rate:,.0f} spans/s")
    with plan.folder("sustain") as folder:
        found = await run(folder, plan, rate=plan.rate, seconds=plan.sustain_s)
    _flow(table, found, ack_target=0.99 * plan.rate)
    _settling(table, found, target=True)
    _cost(table, found, found.ledgers[-1][1].rows, target=True)
    _bytes(table, found)
    return table


async def soak(plan: Plan) -> Table:
    """Whether memory and the number of files stay flat at half speed, and how soon a span is readable."""
    table = Table("soak", f"Half speed, {plan.rate / 2:,.0f} spans/s, for {plan.soak_s:.0f} s")
    with plan.folder("soak") as folder:
        found = await run(folder, plan, rate=plan.rate / 2, seconds=plan.soak_s)
    _flow(table, found, ack_target=0.99 * plan.rate / 2)
    _settling(table, found, target=True)
    _cost(table, found, found.ledgers[-1][1].rows, target=True)
    _bytes(table, found)
    table.add("memory: growth a minute over the last two thirds", found.meter.pss_slope() * 60 / 1e6, "MB/min")
    for share in (0.25, 0.5, 0.75, 1.0):
        at = share * found.result.seconds
        _, ledger = min(found.ledgers, key=lambda seen: abs(seen[0] - at))
        table.add(f"live files after {at:.0f} s", ledger.files, "files")
    return table


async def search(plan: Plan) -> Table:
    """The greatest rate that can be held: from the asked one in steps of a tenth, up or down."""
    table = Table("search", f"The greatest sustainable rate, {plan.search_s:.0f} s a step")
    rate, best, direction = plan.rate, 0.0, 0
    while rate >= plan.rate / 10:
        with plan.folder("search") as folder:
            found = await run(folder, plan, rate=rate, seconds=plan.search_s)
        holds = found.keeps_up and found.result.acked_per_s > 0.97 * rate
        table.note(
            f"{rate:,.0f} spans/s: {'held' if holds else 'not held'} (acknowledged {found.result.acked_per_s:,.0f}, "
            f"written {found.written_per_s:,.0f}, backlog grew by {found.backlog_growth:.1%} of what arrived)"
        )
        if holds:
            best = max(best, rate)
        if direction and holds != (direction > 0):
            break
        direction = 1 if holds else -1
        rate += direction * plan.rate / 10
    table.add("acknowledged, written and readable, sustained", best, "spans/s", ">= 80000")
    return table


# --- Figures -----------------------------------------------------------------------------------


def _flow(table: Table, found: Run, *, ack_target: float) -> None:
    result = found.result
    table.add("acknowledged", result.acked_per_s, "spans/s", f">= {ack_target:.0f}")
    for status, count in sorted(result.statuses.items()):
        if status != "200":
            table.add(f"answers {status}" if status != "0" else "broken connections", count, "requests", "< 1")
    for since, name in (("sent_ns", "from sending"), ("due_ns", "from when it was due")):
        for quantile, value in zip((50, 95, 99), quantiles(result.latencies_ms(since), 0.5, 0.95, 0.99), strict=True):
            table.add(f"acknowledgement {name}, p{quantile}", value, "ms")
    table.add("written to files", found.written_per_s, "spans/s")
    table.add("spans sent, size on the wire", result.bytes_a_span, "B/span")
    table.series["ledger"] = [
        {"s": round(at, 1), "files": ledger.files, "rows": ledger.rows, "backlog_bytes": ledger.backlog_bytes}
        for at, ledger in found.ledgers
    ]


def _settling(table: Table, found: Run, *, target: bool) -> None:
    for quantile, value in zip((50, 95, 99), quantiles(found.readback.latencies_ms, 0.5, 0.95, 0.99), strict=True):
        table.add(f"acknowledged to readable, p{quantile}", value, "ms", "< 1000" if target and quantile == 99 else "")
    table.add("acknowledged to readable, samples", len(found.readback.latencies_ms), "traces")
    table.add("sampled traces that never came", found.readback.never, "traces", "< 1")
    backlog = max(ledger.backlog_bytes for _, ledger in found.ledgers)
    table.add("backlog in the log, greatest", backlog / 1e6, "MB")
    table.add("backlog's growth, share of what arrives", 100 * found.backlog_growth, "%", f"< {100 * _KEEPS_UP:.0f}")


def _cost(table: Table, found: Run, spans: int, *, target: bool) -> None:
    """CPU by the spans that came all the way, memory, and what the disk was made to write."""
    millions = spans / 1e6 or math.nan
    cpu = found.meter.cpu_s
    total = sum(cpu.values()) + found.result.sender_cpu_s
    bound = "< 25" if target else ""
    table.add("CPU, server and sender", total / millions, "s/M spans", bound)
    for name, seconds in sorted(cpu.items()):
        table.add(f"CPU: {name}", seconds / millions, "s/M spans")
    table.add("CPU: sender", found.result.sender_cpu_s / millions, "s/M spans")
    table.add("CPU: whole machine, kernel and benchmark too", found.meter.machine_cpu_s / millions, "s/M spans")
    table.add("memory (PSS), greatest sum", found.meter.peak_pss / 1e6, "MB", "< 1500")
    for name, size in sorted(found.meter.pss_by_name.items()):
        table.add(f"memory (PSS): {name}, greatest", size / 1e6, "MB")
    written = sum(found.meter.written_bytes.values())
    table.add("written to the disk, log and all", written / millions / 1e6, "B/span")
    table.series["pss"] = [(round(at, 1), size) for at, size in found.meter.pss]


def _bytes(table: Table, found: Run) -> None:
    _, ledger = found.ledgers[-1]
    rows = ledger.rows or math.nan
    table.add("appended to the log", ledger.log_end / (found.result.acked_spans or math.nan), "B/span")
    table.add("log on disk, greatest", max(seen.log_bytes for _, seen in found.ledgers) / 1e6, "MB")
    table.add("stored, all objects", sum(ledger.object_bytes.values()) / rows, "B/span")
    for role, size in sorted(ledger.object_bytes.items()):
        table.add(f"stored: {role}", size / rows, "B/span")
    table.add("live files", ledger.files, "files")


def _slope(points: list[tuple[float, int]]) -> float:
    """Return the slope of the least-squares line through (seconds, value); NaN for fewer than three points."""
    if len(points) < 3:
        return math.nan
    times, values = np.array(points, dtype=float).T
    return float(np.polyfit(times - times[0], values, 1)[0])
