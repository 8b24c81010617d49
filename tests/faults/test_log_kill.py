"""The local log under kill -9: every acknowledged record is there, once, at its position."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, stored
from agenttrace_core.ports.queue import Position

pytestmark = pytest.mark.anyio

_APPENDER = """
import asyncio, os, sys
from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_contracts.queue import HEADERS

async def main(url, life):
    queue = LocalLogQueue.from_url(url)
    await queue.open()
    async def worker(n):
        for i in range(10**9):
            body = f"{life} {n} {i} ".encode() * (1 + (n * i) % 3000)
            p = await queue.append(HEADERS, body)
            os.write(1, f"{p.partition} {p.offset} {p.next_offset} {life} {n} {i}\\n".encode())
    await asyncio.gather(*[worker(n) for n in range(16)])

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""
_LIVES = 5


async def test_nothing_acknowledged_is_lost_over_many_lives(tmp_path: Path) -> None:
    """This is the first promise: an acknowledgement outlives the process that gave it."""
    url = f"log:{tmp_path}/log?segment_bytes=1000000"
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged: dict[Position, bytes] = {}
    for life in range(_LIVES):
        acknowledged |= _live_and_die(url, life, seconds=chance.uniform(0.02, 0.4), told=tmp_path / f"told-{life}")
        async with opened(LocalLogQueue.from_url(url)) as queue:
            found = await stored(queue)
            assert acknowledged.items() <= found.items(), f"seed {seed}, life {life}"
            assert len(set(found.values())) == len(found), f"seed {seed}, life {life}: a record is there twice"
            assert set(await queue.end_offsets()) == {0}, "the dead process's partition was not taken over"
    assert len(acknowledged) > 10 * _LIVES


async def test_records_seen_before_a_kill_are_there_after_it(tmp_path: Path) -> None:
    """A reader in another process never sees what the kill of the appender takes back."""
    url = f"log:{tmp_path}/log?segment_bytes=1000000"
    with _started(url, 0, tmp_path / "told") as appender:
        _wait_for(tmp_path / "told")
        async with opened(LocalLogQueue.from_url(url)) as reader:
            seen = await stored(reader)
            appender.kill()
            appender.wait()
            seen |= await stored(reader)
    async with opened(LocalLogQueue.from_url(url)) as queue:
        assert seen
        assert seen.items() <= (await stored(queue)).items()
        position = await queue.append(HEADERS, b"")
        assert position not in seen


def _live_and_die(url: str, life: int, *, seconds: float, told: Path) -> dict[Position, bytes]:
    """Run an appender, kill it ``seconds`` after its first acknowledgement, and return what it was told."""
    with _started(url, life, told) as appender:
        _wait_for(told)
        time.sleep(seconds)
        appender.kill()
        appender.wait()
    lines = told.read_bytes().rpartition(b"\n")[0].decode().splitlines()
    return dict(_parse(line) for line in lines)


def _parse(line: str) -> tuple[Position, bytes]:
    partition, offset, following, life, n, i = map(int, line.split())
    body = f"{life} {n} {i} ".encode() * (1 + (n * i) % 3000)
    return Position(partition, offset, following), body


def _started(url: str, life: int, told: Path) -> subprocess.Popen[bytes]:
    with told.open("wb") as out:
        return subprocess.Popen([sys.executable, "-c", _APPENDER, url, str(life)], stdout=out)


def _wait_for(told: Path) -> None:
    deadline = time.monotonic() + 30
    while not told.stat().st_size:
        assert time.monotonic() < deadline, "the appender acknowledged nothing within 30 s"
        time.sleep(0.01)
