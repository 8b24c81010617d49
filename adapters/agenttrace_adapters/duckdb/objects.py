"""Where objects are: files of this machine, copies of what is elsewhere, or ranges of it that were got."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar
from urllib.parse import quote

import anyio
from anyio import Lock, to_thread

from agenttrace_adapters.duckdb.footers import Footers
from agenttrace_core.errors import AgentTraceError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.storage import CopiedObjects, LocalCopy, LocalObjects, ObjectStorage

_log = logging.getLogger(__name__)

WHOLE_BYTES = 2 << 20
"""What is no longer is fetched whole when it is first read: it takes hardly longer than a part of it."""

_HOT_READS = 8
"""Reads of ranges after which an object is fetched whole, beside what goes on."""

_PAGES_BYTES = 64 << 20
_FETCHED_AT_ONCE = 8

_T = TypeVar("_T")
_P = ParamSpec("_P")


class _HasObjects(Protocol):
    @property
    def objects(self) -> Objects: ...


_S = TypeVar("_S", bound=_HasObjects)

_held: ContextVar[dict[str, LocalCopy] | None] = ContextVar("held", default=None)


def holding(
    method: Callable[Concatenate[_S, _P], Coroutine[None, None, _T]],
) -> Callable[Concatenate[_S, _P], Coroutine[None, None, _T]]:
    """Keep the copies that a method comes to use where they are until it ends: engines open them by path."""

    @wraps(method)
    async def held(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self.objects.held():
            return await method(self, *args, **kwargs)

    return held


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
        self._own = None if isinstance(storage, CopiedObjects) else OwnCopies(storage, max_bytes=max_bytes)
        self._copies: CopiedObjects = storage if isinstance(storage, CopiedObjects) else self._own or _unreachable()
        self._pages: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._pages_bytes = 0
        self._reads: dict[str, int] = {}
        self._warming: set[asyncio.Task[None]] = set()

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
            self._note_read(item)
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
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        self._pages.clear()
        self._pages_bytes = 0
        if self._own is not None:
            await self._own.aclose()

    def _keep_page(self, key: tuple[str, int, int], page: bytes) -> None:
        if key not in self._pages:
            self._pages_bytes += len(page)
        self._pages[key] = page
        self._pages.move_to_end(key)
        while self._pages_bytes > _PAGES_BYTES:
            _, gone = self._pages.popitem(last=False)
            self._pages_bytes -= len(gone)

    def _note_read(self, item: StoredObject) -> None:
        reads = self._reads[item.key] = self._reads.get(item.key, 0) + 1
        if reads == _HOT_READS:
            task = asyncio.create_task(self._warm(item))
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)
        while len(self._reads) > 4096:
            del self._reads[next(iter(self._reads))]

    async def _warm(self, item: StoredObject) -> None:
        try:
            (await self._copies.copy(item)).release()
        except (AgentTraceError, OSError) as error:
            # Ranges are got as before; the next eight reads try again.
            self._reads.pop(item.key, None)
            _log.info("an object that is read often could not be fetched", extra={"error": str(error)})


def _unreachable() -> CopiedObjects:
    raise AssertionError


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
    """Copies of one process, in a temporary folder, for a storage that keeps none: the oldest in use go first.

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
