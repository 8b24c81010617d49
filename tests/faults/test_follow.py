"""What a reader makes of the queue by itself, at any moment, whatever writers and compactors do meanwhile.

A run is drawn from a seed; ``AGENTTRACE_FAULT_SEEDS=100`` runs more, ``AGENTTRACE_FAULT_SEED=7`` that one alone.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agenttrace_adapters.memory import MemoryIndex
from agenttrace_core.ports.events import Subscription
from agenttrace_core.services.compact import CompactConfig
from agenttrace_core.services.follow import FollowConfig, Follower
from agenttrace_core.services.news import CatalogNews
from agenttrace_core.services.view import Views
from agenttrace_core.services.write import WriteConfig
from tests.faults.apart import Shared, Writer, draw_failpoint
from tests.faults.spans import SpanSpec, now_ns
from tests.faults.test_pipeline import WRITER_STEPS
from tests.faults.test_trees import draw_requests

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

_EAGER = CompactConfig(fan_in=3, piece_rows=8, grace_s=60.0)


def _seeds() -> list[int]:
    one = os.environ.get("AGENTTRACE_FAULT_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("AGENTTRACE_FAULT_SEEDS", "2"))))


@asynccontextmanager
async def following(shared: Shared, config: FollowConfig) -> AsyncIterator[tuple[Views, MemoryIndex]]:
    """Run a follower, and yield what queries are given: its views, and an index of their own."""
    async with shared.backends() as (catalog, storage, own), shared.backends() as (*_, index):
        follower = Follower(queue=shared.queue, catalog=catalog, storage=storage, index=own, config=config)
        await follower.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.run)
            yield Views(follower, shared.queue, max_age_s=0.0), index
            tasks.cancel_scope.cancel()


def _follow_config(rng: random.Random) -> FollowConfig:
    return FollowConfig(
        live_bytes=rng.choice([2_000, 20_000, 1 << 20]), chunk_bytes=rng.choice([500, 2_000]), chunk_interval_s=0.0,
        poll_s=0.005, turn_s=rng.choice([0.02, 0.2]), longest_turn_s=0.3, tree_slots=rng.choice([16, 1 << 12]),
    )  # fmt: skip


@pytest.mark.parametrize("seed", _seeds())
async def test_every_view_is_exactly_what_has_been_read(tmp_path: Path, seed: int) -> None:
    """Lost otherwise: spans that were being written while somebody looked, or the truth of their sums."""
    rng = random.Random(seed)
    shared = Shared(tmp_path)
    await shared.queue.open()
    views_of: list[tuple[Views, MemoryIndex]] = []
    async with (
        following(shared, _follow_config(rng)) as first,
        following(shared, _follow_config(rng)) as second,
        anyio.create_task_group() as tasks,
    ):
        views_of += [first, second]
        writers: list[Writer] = []
        for turn in range(rng.randint(15, 25)):
            for specs in draw_requests(rng)[: rng.randint(1, 6)]:
                await shared.send(specs, times=rng.choice([1, 1, 1, 2]))
            writers = [writer for writer in writers if not writer.ended.is_set()]
            if rng.random() < 0.3 and len(writers) < 2:
                small = WriteConfig(
                    flush_bytes=rng.choice([1_000, 5_000]), flush_age_s=rng.choice([0.02, 0.3]), chunk_bytes=900,
                    chunk_interval_s=0.0,
                )  # fmt: skip
                failpoint = draw_failpoint(rng, WRITER_STEPS)
                writers.append(Writer(shared, f"w{turn}", small, failpoint).start(tasks))
            elif rng.random() < 0.3:
                await shared.compact(_EAGER)
            await anyio.sleep(rng.choice([0.0, 0.02, 0.1, 0.3]))
            await _check(shared, *rng.choice(views_of))
        Writer(shared, "last", WriteConfig(flush_bytes=2_000, flush_age_s=0.2, chunk_interval_s=0.0)).start(tasks)
        async with following(shared, _follow_config(rng)) as third:
            for views, index in [*views_of, third]:
                with anyio.fail_after(240):
                    while (await views.look()).lag.partial:
                        await anyio.sleep(0.01)
                await _check(shared, views, index)
        tasks.cancel_scope.cancel()


class _Deaf(Subscription):
    """Hears nothing."""

    async def wait(self, timeout_s: float) -> Sequence[str]:
        await anyio.sleep(timeout_s)
        return ()


async def test_a_reader_goes_on_at_once_where_all_that_it_has_not_read_is_written_and_deleted(tmp_path: Path) -> None:
    """Lost otherwise: many seconds, in which a slow reader finds nothing in the queue and does not look in files."""
    shared = Shared(tmp_path)
    await shared.queue.open()
    news = CatalogNews(heard=_Deaf(), most_s=3600.0)
    assert await news.is_due()  # once; from here on only need makes it look
    async with shared.backends() as (catalog, storage, own), shared.backends() as (*_, index):
        follower = Follower(
            queue=shared.queue, catalog=catalog, storage=storage, index=own, news=news,
            config=FollowConfig(poll_s=0.005, turn_s=0.02),
        )  # fmt: skip
        await follower.open()
        for number in range(1, 9):
            spec = SpanSpec(number.to_bytes(1, "big") * 16, number.to_bytes(8, "big"), now_ns(), now_ns() + 1)
            await shared.send([spec])
        async with anyio.create_task_group() as tasks:
            writer = Writer(shared, "w", WriteConfig(flush_age_s=0.02), whole=True).start(tasks)
            await shared.until_written()
            writer.stop()
        assert await shared.queue.begin_offsets() == await shared.queue.end_offsets()
        views = Views(follower, shared.queue, max_age_s=0.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.run)
            with anyio.fail_after(60):
                while (await views.look()).lag.partial:
                    await anyio.sleep(0.01)
            await _check(shared, views, index)
            tasks.cancel_scope.cancel()


async def _check(shared: Shared, views: Views, index: MemoryIndex) -> None:
    seen = await views.look()
    await shared.check(index, seen.view, seen.readable)
