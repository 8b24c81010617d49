"""The SQLite catalog under several processes, and under kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE

pytestmark = pytest.mark.anyio

_STEPS = 200
_KILLS = 6
_SPAN = 10

_WRITER = """
import sys, anyio
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_contracts.metadata_values import QUEUE, a_file, replaced_rows
from agenttrace_core.errors import ConflictError, WatermarkConflictError
from agenttrace_core.ports.catalog import Advance, Commit

async def main(path, who, steps):
    catalog = SqliteCatalog(path)
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


def _start(path: Path, who: int, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(path), str(who), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_of_two_processes_exactly_one_wins_each_step(tmp_path: Path) -> None:
    """If both won a step, every span of it would be there twice; if neither, the writer would stand still."""
    path = tmp_path / "catalog.sqlite"
    writers = [_start(path, who, _STEPS) for who in (0, 1)]
    won = [[int(line) for line in writer.communicate(timeout=60)[0].split()] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(won[0] + won[1]) == [n * _SPAN for n in range(_STEPS)]
    async with opened(SqliteCatalog(str(path))) as catalog:
        snapshot = await catalog.snapshot()
        assert dict(snapshot.watermarks) == {0: _STEPS * _SPAN}
        assert len(snapshot.files) == _STEPS
        assert len(await catalog.condemned(grace_s=0)) % 3 == 0


async def test_kill_9_leaves_whole_commits_and_all_that_were_acknowledged(tmp_path: Path) -> None:
    """A commit that was answered and is gone loses the spans that the queue then forgets; half of one doubles them."""
    path = tmp_path / "catalog.sqlite"
    acknowledged: list[int] = []
    for number in range(_KILLS):
        writer = _start(path, number, 1_000_000)
        assert writer.stdout is not None
        acknowledged.append(int(writer.stdout.readline()))
        await anyio.sleep(0.05 + 0.03 * number)
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.communicate(timeout=30)[0].split()]
        async with opened(SqliteCatalog(str(path))) as catalog:
            await _assert_whole(catalog, acknowledged)
    assert len(acknowledged) > _KILLS


async def _assert_whole(catalog: SqliteCatalog, acknowledged: list[int]) -> None:
    snapshot = await catalog.snapshot()
    end = snapshot.watermarks[0]
    assert end >= acknowledged[-1] + _SPAN
    assert len(snapshot.files) == len(snapshot.superseded) == end // _SPAN
    assert await catalog.bodies(10**6) == [at.to_bytes(16, "big") for at in range(0, end, _SPAN)]
    assert (await catalog.watermarks())[0] == QUEUE


async def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """``up`` starts all its processes together on an empty folder."""
    path = tmp_path / "catalog.sqlite"
    writers = [_start(path, who, 0) for who in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    for writer in writers:
        writer.communicate()
