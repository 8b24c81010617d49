"""Objects from one storage to another, each checked by its checksum on the way, with a bound on what is in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import anyio
import xxhash
from anyio import to_thread

from agenttrace_core.errors import CorruptionError, NotFoundError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.storage import ObjectStorage

_AT_ONCE = 8
_MEMORY_BYTES = 256 << 20
_INLINE_BYTES = 1 << 20


class ObjectCopier:
    """Copies objects between two storages, which may be one.

    Args:
        source: where they are.
        target: where they are to be.
        at_once: how many are on their way at once.
        memory_bytes: how much of them is in memory at once; an object that is larger is alone.
    """

    def __init__(
        self,
        source: ObjectStorage,
        target: ObjectStorage,
        *,
        at_once: int = _AT_ONCE,
        memory_bytes: int = _MEMORY_BYTES,
    ) -> None:
        self._source, self._target = source, target
        self._at_once = at_once
        self._room = _Room(memory_bytes)
        self._there: dict[str, int] = {}

    async def look(self) -> None:
        """Find out what is there already, from a run before that was cut short."""
        self._there = {info.key: info.size async for info in self._target.list()}

    async def copy(self, objects: Iterable[StoredObject], tell: Callable[[int], None]) -> None:
        """Copy objects; those that are there with the checksum are left. ``tell`` is told the bytes of each.

        Raises:
            CorruptionError: one is not what was put into the source.
            NotFoundError: one is not in the source any more.
        """

        async def copy(stored: StoredObject) -> None:
            if self._there.get(stored.key) != stored.size or not await _is_whole(self._target, stored):
                body = await self._source.get(stored.key)
                if await _checksum(body) != stored.checksum:
                    raise CorruptionError(f"the source's object {stored.key} is not what was put there")
                await self._target.put(stored.key, [body])
            tell(stored.size)

        await self._each(objects, copy)

    async def whole(self, objects: Iterable[StoredObject], tell: Callable[[int], None]) -> int:
        """Read objects of the target, and return how many of them have their checksums."""
        found: list[StoredObject] = []

        async def check(stored: StoredObject) -> None:
            if await _is_whole(self._target, stored):
                found.append(stored)
            tell(stored.size)

        await self._each(objects, check)
        return len(found)

    async def _each(self, objects: Iterable[StoredObject], do: Callable[[StoredObject], Awaitable[None]]) -> None:
        todo = iter(objects)

        async def work() -> None:
            for stored in todo:
                async with self._room.of(stored.size):
                    await do(stored)

        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(self._at_once):
                    tasks.start_soon(work)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures


class _Room:
    """So many bytes of memory, to be shared."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._changed = anyio.Condition()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncGenerator[None]:
        async with self._changed:
            while self._taken and self._taken + size > self._size:
                await self._changed.wait()
            self._taken += size
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with self._changed:
                    self._taken -= size
                    self._changed.notify_all()


async def _is_whole(storage: ObjectStorage, stored: StoredObject) -> bool:
    try:
        return await _checksum(await storage.get(stored.key)) == stored.checksum
    except NotFoundError:
        return False


async def _checksum(body: bytes) -> str:
    if len(body) <= _INLINE_BYTES:
        return xxhash.xxh3_128_hexdigest(body)
    return await to_thread.run_sync(xxhash.xxh3_128_hexdigest, body)
