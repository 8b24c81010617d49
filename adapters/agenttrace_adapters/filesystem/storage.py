"""Object storage in a folder: an object is a file, linked to its name once it is whole and durable.

A new object is written under ``~incoming`` (no key can name that folder), fsynced, and hard-linked
to its place, which fails rather than overwrites; then the folder is fsynced. A crash leaves
either nothing, or a file in ``~incoming`` that a later ``open`` removes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from anyio import to_thread

from agenttrace_adapters.filesystem.files import (
    holds,
    make_folders,
    path_of,
    sync_folder,
    translated,
    write_all,
)
from agenttrace_core.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from agenttrace_core.model.keys import check_key
from agenttrace_core.ports.storage import LocalObjects, ObjectInfo, ObjectStorage, StorageCapabilities

_INCOMING = "~incoming"
_ORPHAN_AGE_S = 3600.0
_LIST_BATCH = 1000
_NAME = re.compile(r"[A-Za-z0-9._=-]+")
_LINK_TRIES = 10

_T = TypeVar("_T")


class FilesystemStorage(ObjectStorage, LocalObjects):
    """Objects as files below one folder, for any number of processes. A key cannot be another key's folder.

    Args:
        root: the folder, made at ``open`` if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / _INCOMING

    @classmethod
    def from_url(cls, url: str) -> FilesystemStorage:
        """Make one from ``file:PATH``.

        Raises:
            ConfigurationError: the URL names no path.
        """
        return cls(path_of(url, "file:/var/lib/agenttrace/objects"))

    @property
    def capabilities(self) -> StorageCapabilities:
        """Durable, and shared by processes."""
        return StorageCapabilities(durable=True, multi_process=True)

    async def open(self) -> None:
        """Make the folder, and remove what puts that died over an hour ago left behind."""
        await to_thread.run_sync(self._open)

    async def aclose(self) -> None:
        """Nothing is held open between calls."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        """Store an object; see the port."""
        await to_thread.run_sync(self._put, key, self.local_path(key), data)

    async def get(self, key: str) -> bytes:
        """Return a whole object; see the port."""
        return await self._read(key, Path.read_bytes)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return ranges of one object; see the port."""
        return await self._read(key, partial(_read_ranges, ranges=ranges))

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Iterate over objects by key; see the port. What is put or deleted meanwhile may or may not appear."""
        objects = _walk(self._root, "", prefix)
        while batch := await to_thread.run_sync(_take, objects):
            for info in batch:
                yield info

    async def delete(self, key: str) -> None:
        """Remove an object, durably; see the port."""
        await to_thread.run_sync(self._delete, key, self.local_path(key))

    def local_path(self, key: str) -> Path:
        """Return where the object is, whether or not it exists.

        Raises:
            InvalidInputError: ``key`` is not a valid one.
        """
        return self._root / check_key(key)

    def _open(self) -> None:
        with translated(f"storage folder {self._root}"):
            make_folders(self._root)
            self._incoming.mkdir(exist_ok=True)
            oldest = time.time() - _ORPHAN_AGE_S
            for orphan in self._incoming.iterdir():
                _unlink_if_older(orphan, oldest)

    def _put(self, key: str, path: Path, data: Sequence[memoryview | bytes]) -> None:
        with translated(f"object {key!r}"):
            is_new = not path.is_file() and self._write(path, data)
            if not is_new and not holds(path, data):
                raise AlreadyExistsError(f"object {key!r} exists and holds other bytes")
            # Also for an object that was there: whoever linked it may have died before this line.
            sync_folder(path.parent)

    def _write(self, path: Path, data: Sequence[memoryview | bytes]) -> bool:
        temp = self._incoming / uuid4().hex
        try:
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            return _link(temp, path)
        finally:
            temp.unlink(missing_ok=True)

    async def _read(self, key: str, read: Callable[[Path], _T]) -> _T:
        return await to_thread.run_sync(_translate_read, key, self.local_path(key), read)

    def _delete(self, key: str, path: Path) -> None:
        with translated(f"object {key!r}"):
            if not path.is_file():
                return
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
            for folder in path.relative_to(self._root).parents[:-1]:
                try:
                    (self._root / folder).rmdir()
                except OSError:  # not empty, which is how most are
                    return


def _link(temp: Path, path: Path) -> bool:
    """Give ``temp`` its place. False if something is there already."""
    for _ in range(_LINK_TRIES):
        try:
            make_folders(path.parent)
            os.link(temp, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            continue  # a delete removed the folder, which was empty
        return True
    raise FileNotFoundError(2, "its folder keeps vanishing", str(path))


def _unlink_if_older(path: Path, oldest: float) -> None:
    try:
        if path.stat().st_mtime < oldest:
            path.unlink()
    except FileNotFoundError:
        return  # another process was first


def _translate_read(key: str, path: Path, read: Callable[[Path], _T]) -> _T:
    with translated(f"object {key!r}"):
        try:
            return read(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFoundError(f"there is no object {key!r}") from error


def _read_ranges(path: Path, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > size:
                raise InvalidInputError(f"range {offset}+{length} leaves the object of {size} bytes")
        return [_pread(file.fileno(), offset, length) for offset, length in ranges]


def _pread(fd: int, offset: int, length: int) -> bytes:
    parts = []
    while length and (part := os.pread(fd, length, offset)):  # a read returns at most 2 GiB
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _take(objects: Iterator[ObjectInfo]) -> list[ObjectInfo]:
    with translated("listing objects"):
        return list(islice(objects, _LIST_BATCH))


def _walk(folder: Path, above: str, prefix: str) -> Iterator[ObjectInfo]:
    """Yield by key. A folder sorts as its name and ``/``, so that ``a-b`` comes before ``a/b``."""
    for name, entry in _entries(folder):
        key = above + name
        if name.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(Path(entry.path), key, prefix)
        elif key.startswith(prefix) and (info := _info(entry, key)):
            yield info


def _entries(folder: Path) -> list[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as found:
            named = [(e.name + "/" if e.is_dir() else e.name, e) for e in found if _NAME.fullmatch(e.name)]
    except FileNotFoundError:
        return []
    return sorted(named, key=lambda pair: pair[0])


def _info(entry: os.DirEntry[str], key: str) -> ObjectInfo | None:
    try:
        stat = entry.stat()
    except FileNotFoundError:
        return None
    return ObjectInfo(key, stat.st_size, stat.st_mtime_ns)
