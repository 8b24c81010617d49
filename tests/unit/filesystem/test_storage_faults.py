"""Files under faults: a full disk, a failing fsync, a crash half-way, keys of a stranger's making."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttrace_adapters.filesystem import FilesystemStorage
from agenttrace_contracts.base import opened
from agenttrace_core.errors import ConfigurationError, InvalidInputError, NotFoundError, UnavailableError

pytestmark = pytest.mark.anyio

_OLD_S = 2 * 3600


def _files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("url", ["file:", "file", "/var/x", "s3://bucket"])
def test_a_wrong_url_says_what_would_be_right(url: str) -> None:
    """An operator who mistypes the key must not be left with a traceback."""
    with pytest.raises(ConfigurationError, match="file:/"):
        FilesystemStorage.from_url(url)


async def test_an_object_is_a_file_of_its_bytes(tmp_path: Path) -> None:
    """People copy, back up and read these folders with other tools."""
    async with opened(FilesystemStorage(tmp_path)) as storage:
        await storage.put("spans/ab/x.parquet", [b"one", memoryview(b"two")])
    assert _files(tmp_path) == ["spans/ab/x.parquet"]
    assert (tmp_path / "spans/ab/x.parquet").read_bytes() == b"onetwo"


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full heals only if nothing half-written stays on it."""
    really = os.writev

    def full(fd: int, buffers: list[memoryview]) -> int:
        if sum(map(len, buffers)) > 1000:
            return really(fd, [buffers[0][:500]])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with opened(FilesystemStorage(tmp_path)) as storage:
        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", full)
            with pytest.raises(UnavailableError, match="No space"):
                await storage.put("a/b", [b"x" * 1500])
        assert _files(tmp_path) == []
        await storage.put("a/b", [b"x" * 1500])
        assert await storage.get("a/b") == b"x" * 1500


async def test_what_could_not_be_synced_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue forgets what was acknowledged here; a failed fsync means that it may not be on disk."""

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with opened(FilesystemStorage(tmp_path)) as storage:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(UnavailableError):
                await storage.put("a", [b"x"])
        with pytest.raises(NotFoundError):
            await storage.get("a")
        await storage.put("a", [b"x"])
        assert await storage.get("a") == b"x"


async def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take fewer bytes than it was given; the rest is spans, too."""
    really = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: really(fd, [buffers[0][:3]]))
    async with opened(FilesystemStorage(tmp_path)) as storage:
        await storage.put("a", [b"0123456789", b"", b"ab", b"cdefg"])
        assert await storage.get("a") == b"0123456789abcdefg"


def _run_a_put_that_is_killed(root: Path) -> int:
    script = (
        "import os, signal, sys, anyio\n"
        "from pathlib import Path\n"
        "from agenttrace_adapters.filesystem import FilesystemStorage\n"
        "storage = FilesystemStorage(Path(sys.argv[1]))\n"
        "os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)\n"
        "anyio.run(storage.put, 'a/b', [b'x' * 100_000])\n"
    )
    return subprocess.run([sys.executable, "-c", script, str(root)], check=False).returncode


async def test_a_put_that_was_killed_leaves_no_object(tmp_path: Path) -> None:
    """Half an object under its final name would be read, or block the replay that would mend it."""
    async with opened(FilesystemStorage(tmp_path)) as storage:
        assert _run_a_put_that_is_killed(tmp_path) < 0
        assert [info async for info in storage.list()] == []
        await storage.put("a/b", [b"y"])
        assert await storage.get("a/b") == b"y"


async def test_old_remains_are_removed_and_young_ones_left(tmp_path: Path) -> None:
    """What crashes leave behind adds up; what another process is writing now must stay."""
    incoming = tmp_path / "~incoming"
    incoming.mkdir()
    for name, age in (("old", _OLD_S), ("young", 0)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age,) * 2)
    async with opened(FilesystemStorage(tmp_path)) as storage:
        assert _names(incoming) == ["young"]
        assert [info async for info in storage.list()] == []


async def test_a_key_cannot_be_another_keys_folder(tmp_path: Path) -> None:
    """The one thing that files cannot do is said plainly, and harms neither object."""
    async with opened(FilesystemStorage(tmp_path)) as storage:
        await storage.put("a/b", [b"x"])
        for key in ("a", "a/b/c", "a/b/c/d"):
            with pytest.raises(InvalidInputError, match="another key's folder"):
                await storage.put(key, [b"y"])
        assert _files(tmp_path) == ["a/b"]


async def test_empty_folders_do_not_stay(tmp_path: Path) -> None:
    """Folders are named by window: each hour would leave one behind for ever."""
    async with opened(FilesystemStorage(tmp_path)) as storage:
        await storage.put("a/b/c/d", [b"x"])
        await storage.put("a/e", [b"x"])
        await storage.delete("a/b/c/d")
        assert _names(tmp_path / "a") == ["e"]
        await storage.delete("a/e")
        assert _names(tmp_path) == ["~incoming"]
