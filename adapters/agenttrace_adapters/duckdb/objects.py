"""Where objects are: files of this machine, copies of what is elsewhere, or ranges of it that were got."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import anyio
import pyarrow as pa

from agenttrace_adapters.duckdb.footers import Footers
from agenttrace_adapters.duckdb.mapped import let_go
from agenttrace_adapters.duckdb.own_copies import OwnCopies
from agenttrace_core.errors import AgentTraceError, CorruptionError, GoneError, NotFoundError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.storage import CopiedObjects, LocalCopy, LocalObjects, ObjectStorage

_log = logging.getLogger(__name__)

WHOLE_BYTES = 2 << 20
"""What is no longer is fetched whole when it is first read: it takes hardly longer than a part of it."""

_HOT_READS = 8
_HOT_BYTES = 32 << 20
"""An object that is no longer is fetched whole, beside what goes on, after so many reads of ranges.

A longer one is once half of it has been got.
"""

_NOTED_OBJECTS = 4_096

_PAGES_BYTES = 64 << 20
_FETCHED_AT_ONCE = 8

_T = TypeVar("_T")


class _HasObjects(Protocol):
    @property
    def objects(self) -> Objects: ...


_M = TypeVar("_M", bound=Callable[..., Coroutine[Any, Any, Any]])

_held: ContextVar[dict[str, LocalCopy] | None] = ContextVar("held", default=None)


def holding(method: _M) -> _M:
    """Keep the copies that a method comes to use where they are until it ends: engines open them by path.

    Then it need not have what it read in memory either.
    What it meets that is damaged or gone, it says by ``CorruptionError`` and ``GoneError``.
    """

    @wraps(method)
    async def held(self: _HasObjects, *args: Any, **kwargs: Any) -> Any:
        with self.objects.held():
            try:
                return await method(self, *args, **kwargs)
            except (NotFoundError, FileNotFoundError) as error:
                raise GoneError(f"{error}: files were merged while they were read; ask again") from error
            except (pa.ArrowInvalid, OSError) as error:
                raise CorruptionError(f"a file cannot be read: {error}") from error
            finally:
                let_go()

    return cast("_M", held)


class Objects:
    """Gets at the bytes of objects in the way that is quickest for what is wanted.

    Args:
        storage: where the objects are.
        max_bytes: bound of the copies kept, where the storage keeps none itself.
        whole_bytes: see ``WHOLE_BYTES``.
        cache: where processes find each other's footers.
    """

    def __init__(
        self, storage: ObjectStorage, *, max_bytes: int, whole_bytes: int = WHOLE_BYTES, cache: Cache | None = None
    ) -> None:
        self.footers = Footers(cache)
        self._storage, self._whole_bytes = storage, whole_bytes
        self._local = storage if isinstance(storage, LocalObjects) else None
        own = OwnCopies(storage, max_bytes=max_bytes)
        self._copies: CopiedObjects = storage if isinstance(storage, CopiedObjects) else own
        self._own = own
        self._pages: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._pages_bytes = 0
        self._reads: dict[str, tuple[int, int]] = {}
        self._warming: dict[str, asyncio.Task[None]] = {}

    @property
    def are_here(self) -> bool:
        """Whether all objects are files of this machine."""
        return self._local is not None

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep copies from now on where they are, until the block ends."""
        if self._local is not None or _held.get() is not None:
            yield
            return
        copies: dict[str, LocalCopy] = {}
        token = _held.set(copies)
        try:
            yield
        finally:
            _held.reset(token)
            for copy in copies.values():
                copy.release()

    async def path(self, item: StoredObject) -> Path:
        """Return where the whole object can be opened and mapped.

        Raises:
            NotFoundError: the storage does not have it.
        """
        if self._local is not None:
            return self._local.local_path(item.key)
        return _kept(item) or _keep(item, await self._copies.copy(item))

    async def paths(self, items: Sequence[StoredObject]) -> list[Path]:
        """Return where several are, fetching side by side what is elsewhere."""
        if self._local is not None:
            return [self._local.local_path(item.key) for item in items]
        return await side_by_side([partial(self.path, item) for item in items])

    async def file(self, item: StoredObject) -> Path | None:
        """Return where the object is, if it is here, or should be; None if its ranges are to be got instead."""
        if self._local is not None:
            return self._local.local_path(item.key)
        found = _kept(item)
        if found is None and (copy := await self._copies.copied(item)) is not None:
            found = _keep(item, copy)
        if found is None and item.size <= self._whole_bytes:
            return await self.path(item)
        return found

    async def ranges(self, item: StoredObject, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return ``(offset, length)`` ranges of an object, got together unless they were got before."""
        missing = [r for r in dict.fromkeys(ranges) if (item.key, *r) not in self._pages]
        fresh: dict[tuple[int, int], bytes] = {}
        if missing:
            self._note_read(item, sum(length for _, length in missing))
            fresh = dict(zip(missing, await self._storage.get_ranges(item.key, missing), strict=True))
        found: list[bytes] = []
        for wanted in ranges:
            page = fresh.get(wanted)
            found.append(self._pages[item.key, *wanted] if page is None else page)
        for wanted, page in zip(ranges, found, strict=True):
            self._keep_page((item.key, *wanted), page)
        return found

    async def aclose(self) -> None:
        """Stop fetching, and remove what copies are nobody else's."""
        warming = list(self._warming.values())
        for task in warming:
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
        self._pages.clear()
        self._pages_bytes = 0
        await self._own.aclose()

    def _keep_page(self, key: tuple[str, int, int], page: bytes) -> None:
        if key not in self._pages:
            self._pages_bytes += len(page)
        self._pages[key] = page
        self._pages.move_to_end(key)
        while self._pages_bytes > _PAGES_BYTES:
            _, gone = self._pages.popitem(last=False)
            self._pages_bytes -= len(gone)

    def _note_read(self, item: StoredObject, size: int) -> None:
        """Begin to fetch an object of which much has been got by ranges: soon it were got twice."""
        reads, got = self._reads.pop(item.key, (0, 0))
        reads, got = self._reads[item.key] = reads + 1, got + size
        is_hot = reads >= _HOT_READS if item.size <= _HOT_BYTES else got > item.size // 2
        if is_hot and item.key not in self._warming:
            task = self._warming[item.key] = asyncio.create_task(self._warm(item))
            task.add_done_callback(lambda _: self._warming.pop(item.key, None))
        while len(self._reads) > _NOTED_OBJECTS:
            del self._reads[next(iter(self._reads))]

    async def _warm(self, item: StoredObject) -> None:
        try:
            (await self._copies.copy(item)).release()
        except (AgentTraceError, OSError) as error:
            self._reads.pop(item.key, None)  # ranges are got as before; after as many, it is tried again
            _log.info("an object that is read often could not be fetched", extra={"error": str(error)})


def _kept(item: StoredObject) -> Path | None:
    copies = _held.get()
    return copies[item.key].path if copies is not None and item.key in copies else None


def _keep(item: StoredObject, copy: LocalCopy) -> Path:
    copies = _held.get()
    if copies is None or item.key in copies:
        copy.release()
        return copy.path
    copies[item.key] = copy
    return copy.path


async def side_by_side(calls: Sequence[Callable[[], Coroutine[None, None, _T]]]) -> list[_T]:
    """Return what some calls return, in their order; a few run at once.

    Raises:
        AgentTraceError: the first that one of them raises.
    """
    if len(calls) == 1:
        return [await calls[0]()]
    found: dict[int, _T] = {}
    waiting = iter(enumerate(calls))

    async def some() -> None:
        for place, call in waiting:
            found[place] = await call()

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(_FETCHED_AT_ONCE, len(calls))):
                tasks.start_soon(some)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [found[place] for place in range(len(calls))]
