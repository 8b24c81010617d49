"""Copies of one process, for a storage that is elsewhere and keeps none on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from anyio import Lock, to_thread

from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.storage import CopiedObjects, LocalCopy, ObjectStorage


class _OwnCopy(LocalCopy):
    def __init__(self, path: Path, release: Callable[[], None]) -> None:
        self._path, self._release = path, release

    @property
    def path(self) -> Path:
        return self._path

    def release(self) -> None:
        release, self._release = self._release, lambda: None
        release()


class OwnCopies(CopiedObjects):
    """Keeps copies in a temporary folder; those that have not been used for longest go first.

    Args:
        storage: where the objects are.
        max_bytes: bound of the copies kept. What is in use at once may exceed it.
    """

    def __init__(self, storage: ObjectStorage, *, max_bytes: int) -> None:
        self._storage, self._max_bytes = storage, max_bytes
        self._folder: Path | None = None
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._users: dict[str, int] = {}
        self._lock = Lock()

    async def copied(self, item: StoredObject) -> LocalCopy | None:
        """Return the copy that there is; see the port."""
        return self._hand_out(item) if item.key in self._sizes else None

    async def copy(self, item: StoredObject) -> LocalCopy:
        """Return a copy, fetched if there is none; see the port."""
        async with self._lock:
            if item.key not in self._sizes:
                if self._folder is None:
                    self._folder = Path(await to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="agenttrace-index-")))
                body, name = await self._storage.get(item.key), item.key
                await to_thread.run_sync((self._folder / quote(name, safe="")).write_bytes, body)
                self._sizes[item.key] = len(body)
            return self._hand_out(item)

    async def aclose(self) -> None:
        """Remove the copies."""
        if self._folder is not None:
            await to_thread.run_sync(shutil.rmtree, self._folder, True)
            self._folder = None
        self._sizes.clear()
        self._users.clear()

    def _hand_out(self, item: StoredObject) -> LocalCopy:
        assert self._folder is not None, "there is a copy"
        name = item.key
        self._sizes.move_to_end(name)
        self._users[name] = self._users.get(name, 0) + 1

        def release() -> None:
            self._users[name] = self._users.get(name, 1) - 1
            self._evict()

        return _OwnCopy(self._folder / quote(name, safe=""), release)

    def _evict(self) -> None:
        for name in list(self._sizes):
            if sum(self._sizes.values()) <= self._max_bytes or self._folder is None:
                return
            if not self._users.get(name):
                del self._sizes[name]
                (self._folder / quote(name, safe="")).unlink(missing_ok=True)
