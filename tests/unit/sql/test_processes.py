"""A catalog under several processes, and under kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys

import anyio
import pytest

from agenttrace_adapters.sql import SqlCatalog
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE
from tests.unit.sql.conftest import MakeCatalog

pytestmark = pytest.mark.anyio

_STEPS = 200
_KILLS = 6
_SPAN = 10

_WRITER = """
import sys, anyio
from agenttrace_core.registry import make_adapter
from agenttrace_contracts.metadata_values import QUEUE, a_file, replaced_rows
from agenttrace_core.errors import ConflictError, WatermarkConflictError
from agenttrace_core.ports.catalog import Advance, Commit

async def main(url, who, steps):
    catalog = make_adapter('metadata', url)
    await catalog.open()
    while True:
        _, at = await catalog.watermarks()
        first = at.get(0, 0)
        if first >= steps * 10:
            return
        file = a_file(first * 2 + who)
        try:
            await catalog.register(file.id, list(file.objects.values()))
            await catalog.commit(Commit(
                QUEUE, [Advance(0, first, first + 10)], [file], bodies=[first.to_bytes(16, "big")],
                superseded=[replaced_rows(file.id, [who])],
            ))
        except WatermarkConflictError:
            continue
        except ConflictError:
            return
        print(first, flush=True)

anyio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


def _start(url: str, who: int, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, url, str(who), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_of_two_processes_exactly_one_wins_each_step(catalog_url: str, make_catalog: MakeCatalog) -> None:
    """If both won a step, every span of it would be there twice; if neither, the writer would stand still."""
    writers = [_start(catalog_url, who, _STEPS) for who in (0, 1)]
    won = [[int(line) for line in writer.communicate(timeout=60)[0].split()] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(won[0] + won[1]) == [n * _SPAN for n in range(_STEPS)]
    async with opened(make_catalog()) as catalog:
        snapshot = await catalog.snapshot()
        assert dict(snapshot.watermarks) == {0: _STEPS * _SPAN}
        assert len(snapshot.files) == _STEPS
        assert len(await catalog.condemned(grace_s=0)) % 3 == 0


async def test_kill_9_leaves_whole_commits_and_all_that_were_acknowledged(
    catalog_url: str, make_catalog: MakeCatalog
) -> None:
    """A commit that was answered and is gone loses the spans that the queue then forgets; half of one doubles them."""
    acknowledged: list[int] = []
    for number in range(_KILLS):
        writer = _start(catalog_url, number, 1_000_000)
        assert writer.stdout is not None
        acknowledged.append(int(writer.stdout.readline()))
        await anyio.sleep(0.05 + 0.03 * number)
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.communicate(timeout=30)[0].split()]
        async with opened(make_catalog()) as catalog:
            await _assert_whole(catalog, acknowledged)
    assert len(acknowledged) > _KILLS


async def _assert_whole(catalog: SqlCatalog, acknowledged: list[int]) -> None:
    await catalog.forget([])  # it waits for what a server is still committing for the dead
    snapshot = await catalog.snapshot()
    end = snapshot.watermarks[0]
    assert end >= acknowledged[-1] + _SPAN
    assert len(snapshot.files) == len(snapshot.superseded) == end // _SPAN
    assert await catalog.bodies(10**6) == [at.to_bytes(16, "big") for at in range(0, end, _SPAN)]
    assert (await catalog.watermarks())[0] == QUEUE


async def test_many_processes_may_make_the_tables_at_once(catalog_url: str) -> None:
    """``up`` starts all its processes together where there is nothing yet; so do the services of one deployment."""
    writers = [_start(catalog_url, who, 0) for who in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    for writer in writers:
        writer.communicate()
