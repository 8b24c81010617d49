"""Where objects are on this machine: in the storage itself, or in a bounded cache of copies."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from urllib.parse import quote

from anyio import Lock, to_thread

from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.storage import LocalObjects, ObjectStorage


class LocalCopies:
    """Finds an object's path, fetching the object first where the storage is elsewhere.

    Args:
        storage: where the objects are.
        max_bytes: bound of the copies kept, the oldest in use going first. A copy that is mapped
            when it goes stays readable until it is unmapped.
    """

    def __init__(self, storage: ObjectStorage, *, max_bytes: int) -> None:
        self._storage = storage
        self._max_bytes = max_bytes
        self._folder: Path | None = None
        self._copies: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    async def path(self, item: StoredObject) -> Path:
        """Return where the object can be mapped.

        Raises:
            NotFoundError: the storage does not have it.
        """
        if isinstance(self._storage, LocalObjects):
            return self._storage.local_path(item.key)
        async with self._lock:
            return await self._copy(item)

    async def aclose(self) -> None:
        """Remove the copies."""
        if self._folder is not None:
            await to_thread.run_sync(shutil.rmtree, self._folder, True)
            self._folder = None
            self._copies.clear()

    async def _copy(self, item: StoredObject) -> Path:
        if self._folder is None:
            self._folder = Path(await to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="agenttrace-index-")))
        path = self._folder / quote(item.key, safe="")
        if item.key not in self._copies:
            body = await self._storage.get(item.key)
            await to_thread.run_sync(path.write_bytes, body)
            self._copies[item.key] = len(body)
        self._copies.move_to_end(item.key)
        while sum(self._copies.values()) > self._max_bytes and len(self._copies) > 1:
            key, _ = self._copies.popitem(last=False)
            (self._folder / quote(key, safe="")).unlink(missing_ok=True)
        return path
