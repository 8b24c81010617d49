"""The figures of a process without a port: kept in a small file, which the API's ``/metrics`` adds to its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agenttrace_core.ports.metrics import Meter
from agenttrace_server.composition_place import Place
from agenttrace_server.settings import Settings

_log = structlog.get_logger()

_EVERY_S = 2.0
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FOLDER = "metrics"


class FileMeter(Meter):
    """Turns what a service tells into Prometheus figures, by the names that it uses.

    Args:
        part: begins every name, after ``agenttrace_``.
    """

    def __init__(self, part: str) -> None:
        self._prefix = f"agenttrace_{part}"
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}

    def count(self, name: str, amount: float = 1.0) -> None:
        """As of ``Meter``."""
        if name not in self._counters:
            self._counters[name] = Counter(f"{self._prefix}_{name}", _words(name), registry=self._registry)
        self._counters[name].inc(amount)

    def gauge(self, name: str, value: float) -> None:
        """As of ``Meter``."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"{self._prefix}_{name}", _words(name), registry=self._registry)
        self._gauges[name].set(value)

    def observe(self, name: str, value: float) -> None:
        """As of ``Meter``."""
        if name not in self._histograms:
            self._histograms[name] = Histogram(
                f"{self._prefix}_{name}", _words(name), registry=self._registry, buckets=_SECONDS
            )
        self._histograms[name].observe(value)

    def exposition(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        return generate_latest(self._registry)

    async def keep_in(self, path: Path) -> None:
        """Write the figures to ``path`` every two seconds, and once more when cancelled."""
        try:
            while True:
                self._write(path)
                await asyncio.sleep(_EVERY_S)
        finally:
            self._write(path)

    def _write(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        with suppress(OSError):  # of a disk that is full now, they are told when it has room again
            path.parent.mkdir(exist_ok=True)
            fresh.write_bytes(self.exposition())
            fresh.replace(path)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Have ``work`` go on for the length of a block, and cancel it then. Should it fail before, that is logged."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_failure)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("work beside the rest ended by a defect", exc_info=error)


def shown(
    meter: FileMeter, part: str, settings: Settings, place: Place, *, alone: bool
) -> AbstractAsyncContextManager[None]:
    """Have figures be seen for the length of a block.

    Parts that share a folder write them into it, for the API's port. Parts that share backends ``alone`` do not
    see each other, even where their folder is the same: each shows its own, on its own port.
    """
    if alone:
        place.figures.append(meter.exposition)
        return nullcontext()
    return beside(meter.keep_in(settings.data / FOLDER / f"{part}.prom"))


def figures(data: Path) -> bytes:
    """Return the figures that the other processes of a data folder last wrote, in Prometheus' text format."""
    found: list[bytes] = []
    for path in sorted((data / FOLDER).glob("*.prom")):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue  # its process has just ended
    return b"".join(found)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
