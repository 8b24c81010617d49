"""Several writers on one queue, some of which are killed, suspended, stopped and added at any moment.

A run is drawn from a seed; ``AGENTTRACE_FAULT_SEEDS=100`` runs more, ``AGENTTRACE_FAULT_SEED=7`` that one alone.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import anyio
import pytest

from agenttrace_core.services.compact import CompactConfig
from agenttrace_core.services.write import WriteConfig
from tests.faults.apart import PARTITIONS, TTL_S, Shared, Writer, draw_failpoint
from tests.faults.spans import SpanSpec, now_ns
from tests.faults.test_pipeline import WRITER_STEPS
from tests.faults.test_trees import draw_requests

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

_SMALL = WriteConfig(flush_bytes=3_000, flush_age_s=0.1, chunk_bytes=900, chunk_interval_s=0.0)

_EAGER = CompactConfig(fan_in=3, piece_rows=8, grace_s=1.0)


def _seeds() -> list[int]:
    one = os.environ.get("AGENTTRACE_FAULT_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("AGENTTRACE_FAULT_SEEDS", "3"))))


@pytest.mark.parametrize("seed", _seeds())
async def test_nothing_is_lost_or_doubled_whoever_writes(tmp_path: Path, seed: int) -> None:
    """Lost otherwise: spans of a partition that changed hands, or their second copy in every sum."""
    rng = random.Random(seed)
    shared = Shared(tmp_path)
    await shared.queue.open()
    async with anyio.create_task_group() as tasks:
        writers: list[Writer] = []
        for turn in range(rng.randint(15, 30)):
            for specs in draw_requests(rng)[: rng.randint(1, 6)]:
                await shared.send(specs, times=rng.choice([1, 1, 1, 2]))
            writers = [writer for writer in writers if not writer.ended.is_set()]
            if rng.random() < 0.25 and len(writers) < 3:
                failpoint = draw_failpoint(rng, WRITER_STEPS)
                writers.append(Writer(shared, f"w{turn}", _SMALL, failpoint).start(tasks))
            elif rng.random() < 0.15:
                await shared.compact(_EAGER)
            elif writers:
                rng.choice([Writer.kill, Writer.suspend, Writer.resume, Writer.stop, str])(rng.choice(writers))
            await anyio.sleep(rng.choice([0.0, 0.02, 0.1, 0.3]))
        for writer in writers:
            writer.resume()
        last = Writer(shared, "last", _SMALL).start(tasks)
        await shared.until_written()
        tasks.cancel_scope.cancel()
    assert last.service is not None
    await shared.check_files()
    await shared.compact(_EAGER)
    await shared.check_files()


async def test_writers_that_come_and_go_share_the_partitions_evenly(tmp_path: Path) -> None:
    """Lost otherwise: the work of a second writer, which would have nothing to do or all of it."""
    shared = Shared(tmp_path)
    await shared.queue.open()
    async with anyio.create_task_group() as tasks:
        writers = [Writer(shared, f"w{number}", _SMALL) for number in range(3)]
        for running in range(1, 4):
            writers[running - 1].start(tasks)
            await _until_shared(writers[:running])
        writers[0].kill()
        await _until_shared(writers[1:])
        writers[1].stop()
        await writers[1].ended.wait()
        with anyio.fail_after(TTL_S * 4):  # partitions that were given back need not run out
            await _until_shared(writers[2:])
        tasks.cancel_scope.cancel()


async def test_a_writer_of_the_whole_waits_until_nobody_else_has_a_part_and_gets_its_own_back_at_once(
    tmp_path: Path,
) -> None:
    """Lost otherwise: two servers that refuse each other's commits; or seconds at every start after a kill."""
    shared = Shared(tmp_path)
    await shared.queue.open()
    async with anyio.create_task_group() as tasks:
        other = Writer(shared, "other", _SMALL).start(tasks)
        await _until_shared([other])
        first = Writer(shared, "up", _SMALL, whole=True).start(tasks)
        await anyio.sleep(3 * TTL_S)
        assert first.service is not None
        assert not first.service.partitions
        other.stop()
        await _until_shared([first])
        first.kill()
        again = Writer(shared, "up", _SMALL, whole=True).start(tasks)
        await shared.send([SpanSpec(b"t" * 16, b"s" * 8, now_ns(), 0)])
        await shared.until_written()
        await _until_shared([again])
        tasks.cancel_scope.cancel()


async def _until_shared(writers: list[Writer]) -> None:
    with anyio.fail_after(30):
        while True:
            shares = [sorted(w.service.partitions) if w.service is not None else [] for w in writers]
            least = PARTITIONS // len(writers)
            if sorted(p for share in shares for p in share) == list(range(PARTITIONS)) and all(
                least <= len(share) <= least + 1 for share in shares
            ):
                return
            await anyio.sleep(0.02)
