"""A storage that is elsewhere, with copies of its objects on this machine."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
from anyio import to_thread

from agenttrace_adapters.filesystem.copies import CopiesFolder, HeldFile
from agenttrace_core.errors import CorruptionError, UnavailableError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.storage import CopiedObjects, LocalCopy, ObjectInfo, ObjectStorage, StorageCapabilities

_log = logging.getLogger(__name__)

_PIECE = 8 << 20
_PIECES_AT_ONCE = 4
_LOOK_AGAIN_S = (0.01, 0.25)
_TRIES = 2


class CopiedStorage(ObjectStorage, CopiedObjects):
    """Everything of another storage, and copies of its objects in a folder that processes share.

    An object is fetched by one process of the machine at a time, in pieces, so that its size is no matter of
    memory. Where the folder has no room, a copy goes aside, and is gone with its release.

    Args:
        storage: where the objects are. Whoever opened it closes it.
        folder: of the copies.
        max_bytes: of all copies. What is in use at once may exceed it.
        aside: a folder in memory.
    """

    def __init__(
        self,
        storage: ObjectStorage,
        folder: Path,
        *,
        max_bytes: int,
        aside: Path = Path("/dev/shm"),  # noqa: S108 - mkstemp makes files there
    ) -> None:
        self._storage = storage
        self._copies = CopiesFolder(folder, max_bytes=max_bytes, aside=aside)
        self._fetching: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @classmethod
    def from_url(cls, url: str) -> CopiedStorage:
        """Made by the composition root alone.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    @property
    def capabilities(self) -> StorageCapabilities:
        """Those of the storage."""
        return self._storage.capabilities

    async def open(self) -> None:
        """Make the folder, and remove what was left by processes that died."""
        await to_thread.run_sync(self._copies.open)

    async def aclose(self) -> None:
        """The copies stay for others, and for the next start."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        """As of the storage."""
        await self._storage.put(key, data)

    async def get(self, key: str) -> bytes:
        """As of the storage."""
        return await self._storage.get(key)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """As of the storage."""
        return await self._storage.get_ranges(key, ranges)

    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """As of the storage."""
        return self._storage.list(prefix)

    async def delete(self, key: str) -> None:
        """As of the storage; copies on this machine go with it, those on others once nobody has used them for a day."""
        await self._storage.delete(key)
        await to_thread.run_sync(self._copies.forget, key)

    async def copied(self, item: StoredObject) -> LocalCopy | None:
        """Return the copy that there is; see the port."""
        if self._copies.is_known(item):  # a lock and a look: less than the way to a thread
            return self._copies.find(item)
        return await to_thread.run_sync(self._copies.find, item)

    async def copy(self, item: StoredObject) -> LocalCopy:
        """Return a copy, fetched if there is none; see the port."""
        if (found := await to_thread.run_sync(self._copies.find, item)) is not None:
            return found
        lock = self._fetching.setdefault(item.checksum, anyio.Lock())
        async with lock:
            return await self._found_or_fetched(item)

    async def _found_or_fetched(self, item: StoredObject) -> HeldFile:
        pause, longest = _LOOK_AGAIN_S
        while True:
            found = await to_thread.run_sync(self._copies.find, item)
            if found is not None:
                return found
            try:
                part = await to_thread.run_sync(self._copies.begin, item)
            except OSError as error:
                _log.warning("the folder of copies cannot be written to", extra={"error": str(error)})
                return await self._aside(item)
            if part is not None:
                # Another process may have finished between the look and the lock.
                found = await to_thread.run_sync(self._copies.find, item)
                if found is None:
                    return await self._fetched(item, part)
                part.release()
                return found
            await anyio.sleep(pause)  # another process is fetching it
            pause = min(2 * pause, longest)

    async def _fetched(self, item: StoredObject, part: HeldFile) -> HeldFile:
        try:
            for _ in range(_TRIES):
                if not await to_thread.run_sync(self._copies.make_room, part, item.size):
                    break
                await self._fetch(item, part)
                kept = await to_thread.run_sync(self._copies.finish, part, item)
                if kept is not None:
                    return kept
            else:
                raise _damaged(item)
        except OSError as error:
            _log.warning("a copy could not be kept", extra={"key": item.key, "error": str(error)})
        finally:
            part.release()  # which it is already, if it was finished
        return await self._aside(item)

    async def _aside(self, item: StoredObject) -> HeldFile:
        """Fetch a copy that is gone with its release."""
        try:
            held = await to_thread.run_sync(self._copies.aside, item.size)
            try:
                await self._fetch(item, held)
                if not await to_thread.run_sync(self._copies.is_right, held, item):
                    raise _damaged(item)
            except BaseException:
                held.release()
                raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UnavailableError(f"no room here for a copy of {item.key!r}, of {item.size} bytes") from error
        return held

    async def _fetch(self, item: StoredObject, held: HeldFile) -> None:
        starts = iter(range(0, item.size, _PIECE))

        async def fetch_some() -> None:
            for at in starts:
                (piece,) = await self._storage.get_ranges(item.key, [(at, min(_PIECE, item.size - at))])
                await to_thread.run_sync(_write_at, held.fd, piece, at)

        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(_PIECES_AT_ONCE, -(-item.size // _PIECE))):
                    tasks.start_soon(fetch_some)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures


def _write_at(fd: int, piece: bytes, at: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def _damaged(item: StoredObject) -> CorruptionError:
    return CorruptionError(f"object {item.key!r}: what the storage holds does not have its checksum")
