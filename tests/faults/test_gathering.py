"""A writer whose chunks nobody waits for: it gathers, and ends at once all the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio
import pytest

from agenttrace_adapters.memory import MemoryLiveTable
from agenttrace_core.ports.metrics import NoMeter
from agenttrace_core.services.write import WriteConfig, WriteService
from agenttrace_server.composition_writer import write_config
from agenttrace_server.settings import Settings
from tests.faults.apart import Shared
from tests.faults.spans import SpanSpec, now_ns

pytestmark = pytest.mark.anyio

_NEVER_S = 3600.0
_HANGS_S = 60.0


class _Counting(NoMeter):
    def __init__(self) -> None:
        self.observed: Counter[str] = Counter()

    def observe(self, name: str, value: float) -> None:
        del value
        self.observed[name] += 1


def _span(number: int) -> SpanSpec:
    return SpanSpec(number.to_bytes(16, "big"), number.to_bytes(8, "big"), now_ns(), now_ns() + 1)


async def test_what_comes_while_a_writer_rests_is_one_chunk_and_is_written_when_it_ends(tmp_path: Path) -> None:
    """Lost otherwise: a chunk costs as much as a thousand spans, and a writer that rests must not hold up its end."""
    shared, meter = Shared(tmp_path), _Counting()
    await shared.queue.open()
    config = WriteConfig(flush_age_s=_NEVER_S, chunk_interval_s=_NEVER_S, poll_s=0.01)
    with anyio.fail_after(_HANGS_S):
        async with shared.backends() as (catalog, storage, index), anyio.create_task_group() as tasks:
            writer = WriteService(
                queue=shared.queue, catalog=catalog, storage=storage, live=MemoryLiveTable(), index=index,
                config=config, is_followed=True, meter=meter,
            )  # fmt: skip
            tasks.start_soon(writer.run)
            await shared.send([_span(1)])
            while not meter.observed["chunk_seconds"]:
                await anyio.sleep(0.01)
            for number in range(2, 40):
                await shared.send([_span(number)])
            writer.drain()
    assert meter.observed["chunk_seconds"] == 2
    await shared.until_written()
    await shared.check_files()


async def test_a_writer_that_looks_seldom_ends_at_once(tmp_path: Path) -> None:
    """Lost otherwise: a writer of an idle deployment would be killed for not having ended, or hand over late."""
    shared, is_ready = Shared(tmp_path), anyio.Event()
    await shared.queue.open()

    async def on_ready() -> None:
        is_ready.set()

    with anyio.fail_after(_HANGS_S):
        async with shared.backends() as (catalog, storage, index), anyio.create_task_group() as tasks:
            writer = WriteService(
                queue=shared.queue, catalog=catalog, storage=storage, live=MemoryLiveTable(), index=index,
                config=WriteConfig(poll_s=_NEVER_S), is_followed=True,
            )  # fmt: skip
            tasks.start_soon(writer.run, on_ready)
            await is_ready.wait()
            writer.stop()


@pytest.mark.parametrize(("flush_age", "gather_s"), [("10s", 1.0), ("2s", 0.2)])
async def test_a_writer_that_is_followed_gathers(flush_age: str, gather_s: float) -> None:
    """Lost otherwise: in parts, it pays for ten chunks a second that nobody reads; or files are late for it."""
    settings = Settings.model_validate({"write": {"flush_age": flush_age}})
    assert write_config(settings, is_followed=True).chunk_interval_s == pytest.approx(gather_s)
    assert write_config(settings, is_followed=True).poll_s == pytest.approx(gather_s)
    assert write_config(settings).chunk_interval_s == WriteConfig().chunk_interval_s
