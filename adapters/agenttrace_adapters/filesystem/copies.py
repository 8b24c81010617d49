"""Copies of objects in a folder that the processes of a machine share, within a bound of bytes.

::

    <hash of key>-<checksum>          a copy; whoever uses it holds a shared flock on it
    <hash of key>-<checksum>.part     one that is being fetched, by whoever holds the exclusive flock
    lock                              held while room is made

Locks go with the process that holds them: after a kill, the next one finds the parts of the dead
unlocked, and removes them. A file is as old as its last use, which its access time says; the oldest
goes first, unless somebody uses it, and with it every copy that nobody has used for a day: what it is of
may have been deleted on purpose, by a process of another machine. Files of other names are not ours, and
stay. Copies are a cache, so nothing is fsynced: each process believes a file only once it has seen its
checksum.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import xxhash

from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.storage import LocalCopy

_LOCK = "lock"
_PART = ".part"
_NAME = re.compile(rf"[0-9a-f]{{16}}-[0-9a-f]{{32}}({re.escape(_PART)})?")
_PIECE = 8 << 20
_STAMP_EVERY_S = 10.0
_UNUSED_S = 86_400.0
_BELIEVED = 65_536


class HeldFile(LocalCopy):
    """A copy, and the lock by which it stays; removed with its release if it is nobody else's."""

    def __init__(self, path: Path, fd: int, *, is_private: bool = False) -> None:
        self._path, self._fd, self._is_private = path, fd, is_private

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return self._fd

    def __del__(self) -> None:
        self.release()

    def renamed(self, path: Path) -> HeldFile:
        """Give the file a name by which others find it, and let them use it. This is of no use any more."""
        self._path.rename(path)
        fd, self._fd = self._fd, -1
        fcntl.flock(fd, fcntl.LOCK_SH)
        return HeldFile(path, fd)

    def release(self) -> None:
        """Let go of it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            if self._is_private:
                self._path.unlink(missing_ok=True)
            os.close(fd)


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    used_s: float


class CopiesFolder:
    """The folder itself. Its methods block.

    Args:
        folder: made by ``open``.
        max_bytes: of all copies. What is in use at once may exceed it.
        aside: where a copy goes for as long as it is used, if the folder's disk is full: a folder in memory.
    """

    def __init__(self, folder: Path, *, max_bytes: int, aside: Path) -> None:
        self._folder, self._max_bytes, self._aside = folder, max_bytes, aside
        self._believed: dict[str, tuple[int, int]] = {}

    def open(self) -> None:
        """Make the folder, and remove what was left by processes that died."""
        with suppress(OSError):  # of a folder that cannot be used, every copy goes aside
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked():
                list(self._entries())

    def find(self, item: StoredObject) -> HeldFile | None:
        """Return the copy of an object, if there is one and it is what it should be."""
        path = self._folder / _name(item)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        if not _lock(fd, fcntl.LOCK_SH) or not _is_at(fd, path):
            os.close(fd)
            return None
        if not self._is_believed(fd, item):
            path.unlink(missing_ok=True)
            os.close(fd)
            return None
        _stamp(fd)
        return HeldFile(path, fd)

    def is_known(self, item: StoredObject) -> bool:
        """Whether the copy has been looked at by this process, or there is none, so that to find it is quick."""
        return item.checksum in self._believed or not (self._folder / _name(item)).exists()

    def begin(self, item: StoredObject) -> HeldFile | None:
        """Return an empty file to fetch an object into; None if somebody else is fetching it.

        Raises:
            OSError: the folder cannot be written to.
        """
        path = self._folder / f"{_name(item)}{_PART}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock(fd, fcntl.LOCK_EX) or not _is_at(fd, path):
            os.close(fd)
            return None
        os.ftruncate(fd, 0)
        return HeldFile(path, fd, is_private=True)

    def make_room(self, part: HeldFile, size: int) -> bool:
        """Reserve a file's bytes, removing what has not been used for longest. False if the disk is full."""
        with self._locked():
            entries = sorted((e for e in self._entries() if e.path != part.path), key=lambda e: e.used_s)
            excess = sum(e.size for e in entries) + size - self._max_bytes
            while True:
                while entries and excess > 0:
                    excess -= _evict(entries.pop(0))
                if _reserve(part.fd, size):
                    return True
                if not entries:
                    return False
                excess = max(1, size - _free_bytes(self._folder))

    def finish(self, part: HeldFile, item: StoredObject) -> HeldFile | None:
        """Give a fetched file its name, and return it; None if its bytes are not the object's."""
        if not self._is_believed(part.fd, item):
            return None
        return part.renamed(self._folder / _name(item))

    def forget(self, key: str) -> None:
        """Remove the copies of an object. Who has one open can read on."""
        with suppress(OSError):
            for path in self._folder.glob(f"{_hash_of(key)}-*"):
                path.unlink(missing_ok=True)

    def aside(self, size: int) -> HeldFile:
        """Return an empty file that goes with its release, where there is room for so many bytes.

        Raises:
            OSError: there is room nowhere.
        """
        for folder in (self._aside, Path(tempfile.gettempdir())):
            if os.access(folder, os.W_OK) and _free_bytes(folder) >= size:
                fd, name = tempfile.mkstemp(prefix="agenttrace-copy-", dir=folder)
                return HeldFile(Path(name), fd, is_private=True)
        raise OSError(errno.ENOSPC, "no room for a copy, neither in memory nor on a disk")

    def is_right(self, held: HeldFile, item: StoredObject) -> bool:
        """Say whether a file holds the object's bytes."""
        size = os.fstat(held.fd).st_size
        return size == item.size and checksum_of(held.fd, size) == item.checksum

    @contextmanager
    def _locked(self) -> Generator[None]:
        fd = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _entries(self) -> Iterator[_Entry]:
        """Yield the copies there are. Parts whose fetcher died, and what nobody has used for a day, are removed."""
        with os.scandir(self._folder) as found:
            for entry in found:
                path = Path(entry.path)
                if not _NAME.fullmatch(entry.name) or (entry.name.endswith(_PART) and _remove_if_unlocked(path)):
                    continue
                with suppress(FileNotFoundError):
                    stat = entry.stat()
                    is_unused = time.time() - max(stat.st_atime, stat.st_ctime) > _UNUSED_S
                    if is_unused and _remove_if_unlocked(path):
                        continue
                    yield _Entry(path, stat.st_size, stat.st_atime)

    def _is_believed(self, fd: int, item: StoredObject) -> bool:
        stat = os.fstat(fd)
        mark = stat.st_ino, stat.st_mtime_ns
        if self._believed.get(item.checksum) == mark:
            return True
        if stat.st_size != item.size or checksum_of(fd, stat.st_size) != item.checksum:
            return False
        if len(self._believed) == _BELIEVED:
            self._believed.clear()
        self._believed[item.checksum] = mark
        return True


def checksum_of(fd: int, size: int) -> str:
    """Return a file's checksum (xxh3-128, hex)."""
    digest = xxhash.xxh3_128()
    if size:
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            for at in range(0, size, _PIECE):
                with view[at : at + _PIECE] as piece:
                    digest.update(piece)
    return digest.hexdigest()


def _hash_of(key: str) -> str:
    return xxhash.xxh3_64_hexdigest(key.encode())


def _name(item: StoredObject) -> str:
    return f"{_hash_of(item.key)}-{item.checksum}"


def _lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    """Whether a file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _stamp(fd: int) -> None:
    """Note that a file is used, unless that was noted a moment ago."""
    stat = os.fstat(fd)
    now_ns = time.time_ns()
    if now_ns - stat.st_atime_ns > _STAMP_EVERY_S * 1e9:
        with suppress(OSError):
            os.utime(fd, ns=(now_ns, stat.st_mtime_ns))


def _evict(entry: _Entry) -> int:
    """Remove a file that nobody uses, and return how many bytes that gives back."""
    return entry.size if _remove_if_unlocked(entry.path) else 0


def _remove_if_unlocked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not _lock(fd, fcntl.LOCK_EX) or not _is_at(fd, path):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(fd)


def _reserve(fd: int, size: int) -> bool:
    try:
        if size:
            os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            os.ftruncate(fd, 0)
            return False
        os.ftruncate(fd, size)  # a file system that reserves nothing
    return True


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
