"""The way of a span while connections to PostgreSQL break in commits, of which nobody knows then what became."""

from __future__ import annotations

import random
import time
from pathlib import Path

import anyio
import pytest

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_core.services import retry
from agenttrace_core.services.compact import CompactService
from agenttrace_core.services.write import WriteService
from tests.faults.deployment import Backends, backends
from tests.faults.test_pipeline import EAGER, SMALL, Sent, check, draw_request
from tests.servers.commit_cutter import CommitCutter

pytestmark = pytest.mark.anyio

_REQUESTS = 40
_CUTS = 30


async def _send(b: Backends, sent: Sent, rng: random.Random) -> None:
    """Append requests, with retries and later versions of spans among them."""
    bodies: list[tuple[str, bytes]] = []
    for _ in range(_REQUESTS):
        project, body = draw_request(rng, sent, bodies)
        bodies.append((project, body))
        await b.queue.append(Headers(project, Signal.TRACES, time.time_ns()), body)
        await anyio.sleep(rng.choice([0.0, 0.02, 0.1]))


async def _compact(b: Backends) -> None:
    service = CompactService(catalog=b.catalog, storage=b.storage, config=EAGER)
    while True:
        await service.merge_once()
        await anyio.sleep(0.05)


@pytest.mark.parametrize("seed", range(3))
async def test_no_span_is_lost_or_doubled_by_commits_that_break(
    tmp_path: Path, postgres_url: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer must learn which of its commits went through: not all, not none, and no rival is to be blamed."""
    monkeypatch.setattr(retry, "_RETRY_S", 0.05)
    rng, sent = random.Random(seed), Sent()
    url = f"{postgres_url}?statement_cache_size=0"
    async with CommitCutter(url, late_s=0.1, after=b"INSERT INTO commits").running() as proxy:
        proxy.cuts += rng.choices(["before", "after", "late", "none"], k=_CUTS)
        async with backends(tmp_path, catalog=PostgresCatalog.from_url(proxy.url)) as b:
            writer = WriteService(
                queue=b.queue, catalog=b.catalog, storage=b.storage, live=b.live, index=b.index, config=SMALL
            )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_compact, b)
                async with anyio.create_task_group() as writing:
                    writing.start_soon(writer.run)
                    await _send(b, sent, rng)
                    writer.drain()
                tasks.cancel_scope.cancel()
        assert len(proxy.cuts) < _CUTS / 2, "hardly any was cut"
    await check(tmp_path, sent, PostgresCatalog.from_url(postgres_url))
