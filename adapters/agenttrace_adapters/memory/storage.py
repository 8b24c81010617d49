"""Object storage in a dictionary."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from agenttrace_adapters.memory.urls import FromMemoryUrl
from agenttrace_core.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from agenttrace_core.model.keys import check_key
from agenttrace_core.ports.storage import ObjectInfo, ObjectStorage, StorageCapabilities


class MemoryStorage(FromMemoryUrl, ObjectStorage):
    """Objects of one instance, which are gone with it."""

    setting = "storage"

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, int]] = {}

    @property
    def capabilities(self) -> StorageCapabilities:
        """Neither durable nor shared."""
        return StorageCapabilities(durable=False, multi_process=False)

    async def open(self) -> None:
        """Nothing to acquire."""

    async def aclose(self) -> None:
        """Nothing to release; the objects stay for as long as the instance."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        """Store an object; see the port."""
        body = b"".join(data)
        if self._objects.setdefault(check_key(key), (body, time.time_ns()))[0] != body:
            raise AlreadyExistsError(f"object {key!r} exists and holds other bytes")

    async def get(self, key: str) -> bytes:
        """Return a whole object; see the port."""
        found = self._objects.get(check_key(key))
        if found is None:
            raise NotFoundError(f"there is no object {key!r}")
        return found[0]

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return ranges of one object; see the port."""
        body = await self.get(key)
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > len(body):
                raise InvalidInputError(f"range {offset}+{length} leaves the object of {len(body)} bytes")
        return [body[offset : offset + length] for offset, length in ranges]

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Iterate over the objects there are now, by key; see the port."""
        for key, (body, modified_ns) in sorted(self._objects.items()):
            if key.startswith(prefix):
                yield ObjectInfo(key, len(body), modified_ns)

    async def delete(self, key: str) -> None:
        """Remove an object; see the port."""
        self._objects.pop(check_key(key), None)
