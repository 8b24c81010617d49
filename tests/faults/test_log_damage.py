"""The local log with bits flipped in its files: damage is told, skipped exactly, and never taken for a torn tail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, read_all
from agenttrace_core.errors import ConfigurationError, CorruptionError
from agenttrace_core.ports.queue import Position

pytestmark = pytest.mark.anyio

_SEGMENT = "0/00000000000000000000.log"


@pytest.fixture
async def positions(tmp_path: Path) -> list[Position]:
    """Three records, closed."""
    async with opened(_log(tmp_path / "log")) as queue:
        return [await queue.append(HEADERS, body) for body in (b"one", b"two" * 5, b"three")]


@pytest.mark.parametrize("published", [True, False], ids=["after a crash", "after a power cut"])
async def test_a_flipped_bit_costs_its_own_record_only(
    tmp_path: Path, positions: list[Position], published: bool
) -> None:
    """Disks flip bits: the neighbours of a damaged record were acknowledged, and must be read."""
    first, damaged, third = positions
    for at in range(damaged.offset, damaged.next_offset):
        folder = _flipped(tmp_path, at, published=published)
        async with opened(_log(folder)) as queue:
            assert [r.position for r in await queue.read(0, 0, max_bytes=1 << 20)] == [first]
            with pytest.raises(CorruptionError) as caught:
                await queue.read(0, damaged.offset, max_bytes=1 << 20)
            assert caught.value.skip_to == third.offset
            assert [r.position for r in await queue.read(0, third.offset, max_bytes=1 << 20)] == [third]
            later = await queue.append(HEADERS, b"later")
            assert later.offset == third.next_offset


async def test_damaged_bytes_are_kept_for_whoever_looks_into_it(tmp_path: Path, positions: list[Position]) -> None:
    """Trimming deletes the segment; the copy is all that is left to recover spans from."""
    folder = _flipped(tmp_path, positions[1].next_offset - 1, published=True)
    async with opened(_log(folder)) as queue:
        for _ in range(2):
            with pytest.raises(CorruptionError, match="copied to"):
                await queue.read(0, positions[1].offset, max_bytes=1)
    (copy,) = (folder / "0" / "damaged").iterdir()
    assert b"twotwo" in copy.read_bytes()


async def test_damage_to_the_last_record_reaches_to_the_end(tmp_path: Path, positions: list[Position]) -> None:
    """What comes after the damage does not exist yet; reading must go on there once it does."""
    folder = _flipped(tmp_path, positions[2].offset, published=True)
    async with opened(_log(folder)) as queue:
        with pytest.raises(CorruptionError) as caught:
            await queue.read(0, positions[2].offset, max_bytes=1)
        assert caught.value.skip_to == positions[2].next_offset
        later = await queue.append(HEADERS, b"later")
        assert [r.position for r in await read_all(queue, 0, positions[2].next_offset)] == [later]


async def test_a_record_quoted_in_a_body_is_not_a_record(tmp_path: Path) -> None:
    """A sender could otherwise plant records of another project, to be read when its own is damaged."""
    async with opened(_log(tmp_path / "other")) as queue:
        await queue.append(HEADERS, b"planted")
    quoted = (tmp_path / "other" / _SEGMENT).read_bytes()
    async with opened(_log(tmp_path / "log")) as queue:
        first = await queue.append(HEADERS, quoted * 3)
        second = await queue.append(HEADERS, b"honest")
    async with opened(_log(_flipped(tmp_path, first.offset, published=True))) as queue:
        with pytest.raises(CorruptionError) as caught:
            await queue.read(0, 0, max_bytes=1)
        assert caught.value.skip_to == second.offset


@pytest.mark.parametrize("straddle", range(1, 5))
async def test_the_record_behind_large_damage_is_found(tmp_path: Path, straddle: int) -> None:
    """The search for it goes in pieces; a record whose mark lies across two of them must not be passed over."""
    head = await _head_bytes(tmp_path / "probe")
    async with opened(_log(tmp_path / "log", segment_bytes=1 << 22)) as queue:
        first = await queue.append(HEADERS, bytes((1 << 20) + 1 - straddle - head))
        second = await queue.append(HEADERS, b"second")
        await queue.append(HEADERS, b"third")
    async with opened(_log(_flipped(tmp_path, first.offset, published=True))) as queue:
        with pytest.raises(CorruptionError) as caught:
            await queue.read(0, 0, max_bytes=1)
        assert caught.value.skip_to == second.offset


async def test_a_missing_segment_file_is_told(tmp_path: Path) -> None:
    """Somebody may delete a file to make room; what it held must not be passed over in silence."""
    async with opened(_log(tmp_path / "log", segment_bytes=100)) as queue:
        positions = [await queue.append(HEADERS, bytes(80)) for _ in range(3)]
    (tmp_path / "log" / "0" / f"{positions[1].offset:020d}.log").unlink()
    async with opened(_log(tmp_path / "log", segment_bytes=100)) as queue:
        with pytest.raises(CorruptionError) as caught:
            await queue.read(0, positions[1].offset, max_bytes=1)
        assert caught.value.skip_to == positions[2].offset


async def test_a_log_of_a_newer_release_is_refused(tmp_path: Path, positions: list[Position]) -> None:
    """An older release would cut off as torn what it cannot read."""
    (tmp_path / "log" / "format.json").write_text('{"format": 2, "queue_id": "2f1ab7a6-6f0c-4f43-9a8e-4d0a11d3b6f5"}')
    with pytest.raises(ConfigurationError, match="format 2"):
        await _log(tmp_path / "log").open()


async def _head_bytes(folder: Path) -> int:
    async with opened(_log(folder)) as queue:
        return (await queue.append(HEADERS, b"")).next_offset


def _log(folder: Path, *, segment_bytes: int = 4096) -> LocalLogQueue:
    return LocalLogQueue.from_url(f"log:{folder}?segment_bytes={segment_bytes}")


def _flipped(tmp_path: Path, at: int, *, published: bool) -> Path:
    """Copy the log with one bit changed at an offset of its only segment."""
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / "log", folder)
    data = bytearray((folder / _SEGMENT).read_bytes())
    data[at] ^= 1 << (at % 8)
    (folder / _SEGMENT).write_bytes(data)
    if not published:
        (folder / "0" / "end").write_bytes(bytes(4096))
    return folder
