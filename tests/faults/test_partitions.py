"""The way of a span through several partitions and through the storage, under crashes and failing parts.

A run is drawn from a seed, as in ``test_pipeline``. The queue is one of four partitions that takes short records
only, so that requests are divided, and long spans are kept in the storage meanwhile.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenttrace_adapters.filesystem import FilesystemStorage
from agenttrace_adapters.memory import MemoryQueue
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.queue import Headers, Position, Signal
from agenttrace_core.services.appender import Appender
from agenttrace_core.services.stored_records import PREFIX
from agenttrace_core.services.sweep import Sweep
from tests.faults.deployment import Crash, backends, compact_all, crash_at, write_all
from tests.faults.spans import SpanSpec, now_ns, request
from tests.faults.test_pipeline import EAGER, SMALL, WRITER_STEPS, Sent, check, seeds

pytestmark = pytest.mark.anyio

_LONGEST_RECORD = 1500


class _Broker(MemoryQueue):
    """Outlives the processes of a test. ``rng`` draws which appends fail, before or after the record is there."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(partitions=4, max_record_bytes=_LONGEST_RECORD)
        self.rng = rng

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        if self.rng.random() < 0.1:
            raise UnavailableError("not now")
        position = await super().append(headers, body, partition=partition)
        if self.rng.random() < 0.1:
            raise UnavailableError("stored, and not told")
        return position

    async def aclose(self) -> None:
        """It is another process that ends."""


class _Storage(FilesystemStorage):
    """Fails now and then, after the object is there."""

    rng: random.Random

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        await super().put(key, data)
        if self.rng.random() < 0.1:
            raise UnavailableError("stored, and not told")


@pytest.mark.parametrize("seed", seeds())
async def test_nothing_acknowledged_is_lost_or_doubled_in_several_partitions(tmp_path: Path, seed: int) -> None:
    """If this fails, what a broker does not take in one record is gone, or counted twice after a 503."""
    rng = random.Random(seed)
    broker, sent = _Broker(rng), Sent()
    await broker.open()
    for _ in range(6):
        for _ in range(rng.randint(1, 3)):
            specs = [_span(rng) for _ in range(rng.randint(1, 8))]
            await _send(tmp_path, broker, request(*specs))
            sent.add("default", specs)
        with contextlib.suppress(Crash):
            failpoint = crash_at(rng.choice([*WRITER_STEPS, ""]), rng.randint(1, 3))
            await write_all(tmp_path, config=SMALL, failpoint=failpoint, queue=broker)
    await write_all(tmp_path, config=SMALL, queue=broker)
    await check(tmp_path, sent)
    await compact_all(tmp_path, EAGER)
    await check(tmp_path, sent)
    await _nothing_is_left(tmp_path, broker)


async def _send(folder: Path, broker: _Broker, body: bytes) -> None:
    """Send a request again until it is acknowledged, as OpenTelemetry's exporters do."""
    storage = _Storage.from_url(f"file:{folder}/objects")
    storage.rng = broker.rng
    await storage.open()
    try:
        while True:
            with contextlib.suppress(UnavailableError):
                await Appender(broker, storage).append(Headers("default", Signal.TRACES, time.time_ns()), body)
                return
    finally:
        await storage.aclose()


async def _nothing_is_left(folder: Path, broker: _Broker) -> None:
    """Whatever crashed or failed, no body stays in the storage once all is written."""
    now = [0.0]
    async with backends(folder, broker) as b:
        sweep = Sweep(b.queue, b.catalog, b.storage, clock=lambda: now[0])
        await sweep.sweep()
        now[0] += 3600.0
        await sweep.sweep()
        assert [info.key async for info in b.storage.list(PREFIX)] == []


def _span(rng: random.Random) -> SpanSpec:
    start = now_ns() + rng.randint(0, 10**6)
    return SpanSpec(
        trace_id=bytes([rng.randint(1, 20)]) * 16,
        span_id=rng.randbytes(7) + b"\1",
        start_ns=start,
        end_ns=start + rng.randint(0, 10**6),
        tokens=rng.randint(0, 9),
        text="x" * rng.choice([0, 10, 300, 300, 2 * _LONGEST_RECORD]),
    )
