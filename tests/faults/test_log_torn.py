"""The local log after a crash in the middle of a write: what was acknowledged stays, what was torn goes."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, read_all
from agenttrace_core.errors import CorruptionError
from agenttrace_core.ports.queue import Position

pytestmark = pytest.mark.anyio

BODIES = [b"first", b"second" * 3, b"third, and torn"]
_SEGMENT = "00000000000000000000.log"


@pytest.fixture
async def positions(tmp_path: Path) -> list[Position]:
    """Three records, and beside the log the file of its end as it was after the second."""
    async with _log(tmp_path / "log") as queue:
        found = [await queue.append(HEADERS, body) for body in BODIES[:2]]
        shutil.copy(tmp_path / "log" / "0" / "end", tmp_path / "end")
        found.append(await queue.append(HEADERS, BODIES[2]))
    return found


@pytest.mark.parametrize("rest", ["nothing", "zeros", "stale bytes"])
async def test_a_tail_torn_at_any_byte_is_removed(tmp_path: Path, positions: list[Position], rest: str) -> None:
    """A crash may cut the last write anywhere; the log must open, keep what it told, and go on."""
    whole = (tmp_path / "log" / "0" / _SEGMENT).read_bytes()
    last = positions[2]
    for cut in range(last.offset, last.next_offset):
        folder = _crashed(tmp_path, whole[:cut] + _rest(rest, cut), published=True)
        await _goes_on_after(folder, positions[:2])


async def test_after_a_power_cut_an_older_end_is_no_loss(tmp_path: Path, positions: list[Position]) -> None:
    """The published end is not synced: what was acknowledged lies above it, and must be found."""
    whole = (tmp_path / "log" / "0" / _SEGMENT).read_bytes()
    for cut in range(positions[2].offset, positions[2].next_offset, 7):
        folder = _crashed(tmp_path, whole[:cut] + bytes(100), published=False)
        await _goes_on_after(folder, positions[:2])


async def test_a_reader_alone_finds_the_end_after_a_power_cut(tmp_path: Path, positions: list[Position]) -> None:
    """No door may be up when the writer starts; what was acknowledged must be readable all the same."""
    folder = _crashed(tmp_path, (tmp_path / "log" / "0" / _SEGMENT).read_bytes(), published=False)
    async with _log(folder) as queue:
        assert [r.position for r in await read_all(queue, 0, 0)] == positions
        assert await queue.end_offsets() == {0: positions[2].next_offset}


async def test_acknowledged_bytes_that_are_gone_are_told(
    tmp_path: Path, positions: list[Position], caplog: pytest.LogCaptureFixture
) -> None:
    """A file cut below what was acknowledged is a loss; it is not a torn tail, and offsets do not go back."""
    cut = positions[1].offset + 5
    shutil.copy(tmp_path / "log" / "0" / "end", tmp_path / "end")
    folder = _crashed(tmp_path, (tmp_path / "log" / "0" / _SEGMENT).read_bytes()[:cut], published=True)
    async with _log(folder) as queue:
        end = positions[2].next_offset
        assert await queue.end_offsets() == {0: end}
        assert "the rest is lost" in caplog.text
        with pytest.raises(CorruptionError) as caught:
            await queue.read(0, positions[1].offset, max_bytes=1)
        assert caught.value.skip_to == end
        later = await queue.append(HEADERS, b"later")
        assert later.offset == end
        assert [r.body for r in await read_all(queue, 0, end)] == [b"later"]


@asynccontextmanager
async def _log(folder: Path) -> AsyncGenerator[LocalLogQueue]:
    async with opened(LocalLogQueue.from_url(f"log:{folder}?segment_bytes=4096")) as queue:
        yield queue


def _crashed(tmp_path: Path, segment: bytes, *, published: bool) -> Path:
    """Make a log as a crash would leave it; ``published`` says whether the end of two records was."""
    folder = tmp_path / "crashed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / "log", folder)
    (folder / "0" / _SEGMENT).write_bytes(segment)
    if published:
        shutil.copy(tmp_path / "end", folder / "0" / "end")
    else:
        (folder / "0" / "end").write_bytes(bytes(4096))
    return folder


def _rest(kind: str, seed: int) -> bytes:
    return {"nothing": b"", "zeros": bytes(200), "stale bytes": random.Random(seed).randbytes(200)}[kind]


async def _goes_on_after(folder: Path, expected: list[Position]) -> None:
    """Open, append, open again: the records expected are there, then the appended one, and no other."""
    async with _log(folder) as queue:
        assert [r.position for r in await read_all(queue, 0, 0)] == expected
        expected = [*expected, await queue.append(HEADERS, b"after the crash")]
        assert expected[-1].offset == expected[-2].next_offset
    async with _log(folder) as queue:
        assert [r.position for r in await read_all(queue, 0, 0)] == expected
