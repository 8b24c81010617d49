"""Copies of objects that are elsewhere: right, shared by processes, within their bound, and never a failed query."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest
import xxhash

from agenttrace_adapters.filesystem import CopiedStorage
from agenttrace_contracts.base import opened
from agenttrace_contracts.index_world import FolderObjects
from agenttrace_core.errors import CorruptionError, NotFoundError, UnavailableError
from agenttrace_core.model.segment import StoredObject

pytestmark = pytest.mark.anyio

_SIZE = 10_000


class _Counted(FolderObjects):
    """Objects in a folder, which counts what is got."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gets = 0

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        self.gets += 1
        await anyio.sleep(0.01)
        return await super().get_ranges(key, ranges)


@pytest.fixture
async def elsewhere(tmp_path: Path) -> _Counted:
    storage = _Counted(tmp_path / "elsewhere")
    await storage.open()
    return storage


@pytest.fixture
async def storage(elsewhere: _Counted, tmp_path: Path) -> AsyncIterator[CopiedStorage]:
    async with opened(CopiedStorage(elsewhere, tmp_path / "copies", max_bytes=4 * _SIZE)) as storage:
        yield storage


def _body(number: int, size: int = _SIZE) -> bytes:
    return (b"%06d" % number) * (size // 6) + b"x" * (size % 6)


async def _stored(elsewhere: FolderObjects, number: int, size: int = _SIZE) -> StoredObject:
    body = _body(number, size)
    await elsewhere.put(f"o{number}", [body])
    return StoredObject(f"o{number}", size, xxhash.xxh3_128_hexdigest(body))


def _copies(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != "lock") if folder.is_dir() else []


async def test_a_copy_is_fetched_once_and_found_again(
    storage: CopiedStorage, elsewhere: _Counted, tmp_path: Path
) -> None:
    """By many at once, later, and by the next process."""
    item = await _stored(elsewhere, 1)
    assert await storage.copied(item) is None

    async def use() -> None:
        copy = await storage.copy(item)
        assert await anyio.Path(copy.path).read_bytes() == _body(1)
        copy.release()
        copy.release()

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(use)
    async with opened(CopiedStorage(elsewhere, tmp_path / "copies", max_bytes=4 * _SIZE)) as other:
        found = await other.copied(item)
        assert found is not None
        found.release()
    assert elsewhere.gets == 1


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (20 << 20) + 7])
async def test_of_any_size(elsewhere: _Counted, tmp_path: Path, size: int) -> None:
    """A long object comes in pieces, side by side; one that is put together wrongly reads as another."""
    item = await _stored(elsewhere, 1, size)
    async with opened(CopiedStorage(elsewhere, tmp_path / "copies", max_bytes=1 << 30)) as storage:
        copy = await storage.copy(item)
        assert await anyio.Path(copy.path).read_bytes() == _body(1, size)
        copy.release()


async def test_the_bound_is_kept_and_the_oldest_goes_first(
    storage: CopiedStorage, elsewhere: _Counted, tmp_path: Path
) -> None:
    """A cache that grows fills the disk on which everything else is."""
    items = [await _stored(elsewhere, n) for n in range(6)]
    for n, item in enumerate(items):
        (await storage.copy(item)).release()
        (path,) = (path for path in _copies(tmp_path / "copies") if path.name.endswith(item.checksum))
        os.utime(path, ns=(time.time_ns() - (60 - n) * 10**9, path.stat().st_mtime_ns))
    assert sum(path.stat().st_size for path in _copies(tmp_path / "copies")) <= 4 * _SIZE
    assert [await storage.copied(item) is not None for item in items] == [False, False, True, True, True, True]


async def test_what_is_used_stays(storage: CopiedStorage, elsewhere: _Counted) -> None:
    """An engine opens files by path, some time after it was told of them."""
    items = [await _stored(elsewhere, n) for n in range(8)]
    held = [await storage.copy(item) for item in items]
    assert all(copy.path.exists() for copy in held)
    open_file = held[0].path.open("rb")
    for copy in held:
        copy.release()
    (await storage.copy(await _stored(elsewhere, 8))).release()
    assert sum(copy.path.exists() for copy in held) == 3
    with open_file:
        assert open_file.read() == _body(0)


async def test_a_copy_that_was_damaged_is_fetched_again(elsewhere: _Counted, tmp_path: Path) -> None:
    """After a crash of the machine a file may have its length, and zeros in it."""
    item = await _stored(elsewhere, 1)
    async with opened(CopiedStorage(elsewhere, tmp_path / "copies", max_bytes=4 * _SIZE)) as first:
        (await first.copy(item)).release()
    (path,) = _copies(tmp_path / "copies")
    path.write_bytes(b"\0" * _SIZE)
    async with opened(CopiedStorage(elsewhere, tmp_path / "copies", max_bytes=4 * _SIZE)) as second:
        copy = await second.copy(item)
        assert await anyio.Path(copy.path).read_bytes() == _body(1)
        copy.release()


async def test_what_the_storage_damaged_is_told(storage: CopiedStorage, elsewhere: _Counted, tmp_path: Path) -> None:
    """Bytes that are not what was stored are decoded as something else."""
    item = await _stored(elsewhere, 1)
    await elsewhere.put("o1", [_body(2)])
    with pytest.raises(CorruptionError, match="o1"):
        await storage.copy(item)
    with pytest.raises(NotFoundError):
        await storage.copy(StoredObject("never", 5, "00"))
    assert _copies(tmp_path / "copies") == []


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
async def test_on_a_full_disk_a_copy_lives_for_as_long_as_it_is_used(
    storage: CopiedStorage, elsewhere: _Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A cache without room makes a query slower; it must not fail it."""
    item, real = await _stored(elsewhere, 1), getattr(os, call)

    def full(fd: int, *given: object) -> object:
        if str(tmp_path) in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(errno.ENOSPC, "full")
        return real(fd, *given)

    monkeypatch.setattr(os, call, full)
    copy = await storage.copy(item)
    assert await anyio.Path(copy.path).read_bytes() == _body(1)
    assert tmp_path not in copy.path.parents
    copy.release()
    assert not copy.path.exists()
    assert _copies(tmp_path / "copies") == []
    monkeypatch.undo()
    kept = await storage.copy(item)
    assert kept.path.parent == tmp_path / "copies"
    kept.release()


async def test_without_room_anywhere_it_is_said(
    storage: CopiedStorage, elsewhere: _Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator who reads that the storage is away looks in the wrong place."""

    def full(*_: object) -> object:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UnavailableError, match="no room here for a copy"):
        await storage.copy(await _stored(elsewhere, 1))


async def test_a_folder_that_cannot_be_written_to(elsewhere: _Counted, tmp_path: Path) -> None:
    """A cache folder on a disk that is gone is no reason not to answer."""
    (tmp_path / "file").write_bytes(b"")
    item = await _stored(elsewhere, 1)
    async with opened(CopiedStorage(elsewhere, tmp_path / "file" / "copies", max_bytes=4 * _SIZE)) as storage:
        copy = await storage.copy(item)
        assert await anyio.Path(copy.path).read_bytes() == _body(1)
        copy.release()


async def test_a_fetch_that_is_cancelled_leaves_nothing(
    storage: CopiedStorage, elsewhere: _Counted, tmp_path: Path
) -> None:
    """A question that is given up must not hold up the next."""
    item = await _stored(elsewhere, 1)
    with anyio.move_on_after(0.005):
        await storage.copy(item)
    assert _copies(tmp_path / "copies") == []
    (await storage.copy(item)).release()


async def test_copies_of_what_is_deleted_go(storage: CopiedStorage, elsewhere: _Counted, tmp_path: Path) -> None:
    """Erasure is promised to people. Another machine's copies go once nobody has used them for a day."""
    items = [await _stored(elsewhere, n) for n in range(3)]
    for item in items:
        (await storage.copy(item)).release()
    await storage.delete(items[0].key)
    left = _copies(tmp_path / "copies")
    assert len(left) == 2
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr("agenttrace_adapters.filesystem.copies._UNUSED_S", -1.0)
        (await storage.copy(await _stored(elsewhere, 3))).release()
    assert not any(path.exists() for path in left)


# --- Several processes ----------------------------------------------------------------------------

_PROGRAM = """
import sys, anyio
from pathlib import Path
from agenttrace_adapters.filesystem import CopiedStorage
from agenttrace_contracts.index_world import FolderObjects
from agenttrace_core.model.segment import StoredObject

class Noted(FolderObjects):
    async def get_ranges(self, key, ranges):
        with open(self.folder / "gets", "a") as file:
            file.write(key + "\\n")
        await anyio.sleep(float(sys.argv[2]))
        return await super().get_ranges(key, ranges)

async def main():
    root = Path(sys.argv[1])
    storage = CopiedStorage(Noted(root / "elsewhere"), root / "copies", max_bytes=int(sys.argv[3]))
    await storage.open()
    items = [StoredObject(*line.split()[:1], int(line.split()[1]), line.split()[2]) for line in sys.stdin]
    for _ in range(3):
        for item in items:
            copy = await storage.copy(item)
            assert len(copy.path.read_bytes()) == item.size
            copy.release()

anyio.run(main)
"""


def _started(root: Path, items: Sequence[StoredObject], *, slow_s: float, max_bytes: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(root), str(slow_s), str(max_bytes)], stdin=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.writelines(f"{item.key} {item.size} {item.checksum}\n" for item in items)
    return process


async def test_processes_fetch_an_object_once(elsewhere: _Counted, tmp_path: Path) -> None:
    """Four query processes of a machine that fetch the same gigabytes after a start take four times as long."""
    items = [await _stored(elsewhere, n) for n in range(10)]
    processes = [_started(tmp_path, items, slow_s=0.02, max_bytes=1 << 30) for _ in range(4)]
    assert [await anyio.to_thread.run_sync(process.wait) for process in processes] == [0] * 4
    assert sorted((tmp_path / "elsewhere" / "gets").read_text().split()) == [item.key for item in items]


async def test_processes_that_fight_for_room_all_read(elsewhere: _Counted, tmp_path: Path) -> None:
    """One must not take away what another is about to open."""
    items = [await _stored(elsewhere, n) for n in range(12)]
    processes = [_started(tmp_path, items[n:] + items[:n], slow_s=0.0, max_bytes=3 * _SIZE) for n in (0, 3, 6, 9)]
    assert [await anyio.to_thread.run_sync(process.wait) for process in processes] == [0] * 4
    assert sum(path.stat().st_size for path in _copies(tmp_path / "copies")) <= 4 * _SIZE


async def test_a_process_that_is_killed_in_the_middle_holds_up_nobody(elsewhere: _Counted, tmp_path: Path) -> None:
    """Its half of a file is neither believed nor kept."""
    item = await _stored(elsewhere, 1)
    process = _started(tmp_path, [item], slow_s=60.0, max_bytes=1 << 30)
    with anyio.fail_after(30):
        while not any(path.suffix == ".part" for path in _copies(tmp_path / "copies")):
            await anyio.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    async with opened(CopiedStorage(elsewhere, tmp_path / "copies", max_bytes=4 * _SIZE)) as storage:
        assert _copies(tmp_path / "copies") == []
        (await storage.copy(item)).release()
    assert len(_copies(tmp_path / "copies")) == 1


async def test_what_others_keep_in_the_folder_stays(elsewhere: _Counted, tmp_path: Path) -> None:
    """Set to a folder that is in use, the server would delete whatever lies there, the oldest first."""
    folder = tmp_path / "copies"
    (folder / "photos").mkdir(parents=True)
    others = [folder / "thesis.pdf", folder / "notes.part", folder / "photos" / "1.jpg"]
    for path in others:
        path.write_bytes(bytes(_SIZE))
        os.utime(path, (1, 1))
    async with opened(CopiedStorage(elsewhere, folder, max_bytes=_SIZE)) as storage:
        for number in range(3):
            (await storage.copy(await _stored(elsewhere, number))).release()
    assert all(path.exists() for path in others)
    assert len(list(folder.glob("*-*"))) == 1
