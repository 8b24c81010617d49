"""The live table's files: what is on disk, after whom, and what another process sees of it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttrace_adapters.filesystem import FilesystemLiveTable
from agenttrace_contracts.base import opened
from agenttrace_contracts.live import a_chunk, assert_same
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.live import LiveState

pytestmark = pytest.mark.anyio

_WRITER = """
import sys, anyio
from pathlib import Path
from agenttrace_adapters.filesystem import FilesystemLiveTable
from agenttrace_contracts.live import a_chunk
from agenttrace_core.ports.live import LiveState

async def main(folder, epoch):
    table = FilesystemLiveTable(Path(folder))
    await table.open()
    state, n = LiveState(epoch=epoch), 0
    while True:
        chunks = [*state.chunks, a_chunk(n, rows=50)][-4:]
        state = await table.publish(LiveState(epoch=epoch, tail={0: n}, chunks=chunks))
        n += 1
        if n == 10:
            print("ready", flush=True)

anyio.run(main, *sys.argv[1:])
"""


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_only_what_is_named_stays_on_disk(tmp_path: Path) -> None:
    """Chunks that went into files would fill the disk within the hour."""
    async with opened(FilesystemLiveTable(tmp_path)) as table:
        state = LiveState(epoch="e")
        for n in range(10):
            state = await table.publish(replace(state, chunks=[*state.chunks, a_chunk(n)][-2:]))
    assert _names(tmp_path) == [
        "c8.rows.arrow", "c8.traces-0.arrow", "c9.rows.arrow", "c9.traces-0.arrow", "manifest.json",
    ]  # fmt: skip


async def test_what_a_dead_writer_left_goes_with_the_first_publish(tmp_path: Path) -> None:
    """Every crash would leave a live table's worth of memory-mapped files behind."""
    async with opened(FilesystemLiveTable(tmp_path)) as dead:
        await dead.publish(LiveState(epoch="e1", chunks=[a_chunk(1)]))
    (tmp_path / "half.tmp").write_bytes(b"{")
    (tmp_path / "epoch-e1" / "half.tmp").write_bytes(b"ARROW1")
    async with opened(FilesystemLiveTable(tmp_path)) as reader, opened(FilesystemLiveTable(tmp_path)) as writer:
        assert_same(await reader.current(), LiveState(epoch="e1", chunks=[a_chunk(1)]))
        await writer.publish(LiveState(epoch="e2"))
        assert _names(tmp_path) == ["manifest.json"]


async def test_only_corrected_traces_are_written_again(tmp_path: Path) -> None:
    """A chunk is tens of megabytes; writing it again for one late span would cost more than the span."""
    async with opened(FilesystemLiveTable(tmp_path)) as table:
        state = await table.publish(LiveState(epoch="e", chunks=[a_chunk(1)]))
        before = (tmp_path / "epoch-e" / "c1.rows.arrow").stat()
        await table.publish(LiveState(epoch="e", chunks=[a_chunk(1)]))
        assert "c1.traces-0.arrow" in _names(tmp_path)
        await table.publish(replace(state, chunks=[replace(state.chunks[0], traces=a_chunk(2).traces)]))
        assert _names(tmp_path) == ["c1.rows.arrow", "c1.traces-1.arrow", "manifest.json"]
        after = (tmp_path / "epoch-e" / "c1.rows.arrow").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_a_manifest_of_before_a_reboot_is_not_believed(tmp_path: Path) -> None:
    """Nothing here is fsynced: after a power cut a chunk may be a hole, while the queue has every span."""
    async with opened(FilesystemLiveTable(tmp_path)) as table:
        await table.publish(LiveState(epoch="e", tail={0: 9}, chunks=[a_chunk(1)]))
    manifest = tmp_path / "manifest.json"
    document: dict[str, Any] = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "boot": "another"}))
    async with opened(FilesystemLiveTable(tmp_path)) as reader:
        assert await reader.current() == LiveState()


async def test_a_chunk_that_is_missing_is_told(tmp_path: Path) -> None:
    """Leaving it out would be an answer that lacks acknowledged spans without saying so."""
    async with opened(FilesystemLiveTable(tmp_path)) as table:
        await table.publish(LiveState(epoch="e", chunks=[a_chunk(1)]))
    (tmp_path / "epoch-e" / "c1.rows.arrow").unlink()
    async with opened(FilesystemLiveTable(tmp_path)) as reader:
        with pytest.raises(UnavailableError):
            await reader.current()


async def test_a_full_disk_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers go on with what they had, and the writer tries again."""

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with opened(FilesystemLiveTable(tmp_path)) as table:
        state = await table.publish(LiveState(epoch="e", chunks=[a_chunk(1)]))
        more = replace(state, chunks=[*state.chunks, a_chunk(2)])
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            with pytest.raises(UnavailableError, match="No space"):
                await table.publish(more)
        assert_same(await table.current(), state)
        await table.publish(more)
        assert_same(await table.current(), more)
        assert not [name for name in _names(tmp_path) if name.endswith(".tmp")]


async def test_a_reader_follows_writers_that_are_killed(tmp_path: Path) -> None:
    """The writer is another process, and dies at any line; what it published stays readable and whole."""
    async with opened(FilesystemLiveTable(tmp_path)) as reader:
        for number in range(3):
            epoch = f"e{number}"
            writer = _start_writer(tmp_path, epoch)
            seen: set[int] = set()
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                seen.add(_assert_whole(await reader.current(), epoch))
            writer.kill()
            writer.communicate()
            seen.add(_assert_whole(await reader.current(), epoch))
            assert len(seen) > 1


def _start_writer(folder: Path, epoch: str) -> subprocess.Popen[str]:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(folder), epoch], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def _assert_whole(state: LiveState, epoch: str) -> int:
    newest = state.tail[0]
    assert state.epoch == epoch
    assert [chunk.id for chunk in state.chunks] == [f"c{n}" for n in range(max(0, newest - 3), newest + 1)]
    assert state.chunks[-1].rows["trace_id"].unique().to_pylist() == [str(newest)]
    assert len(state.chunks[-1].traces) == 50
    return newest
