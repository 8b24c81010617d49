"""Files that are damaged or lost: found out once something could not be read, told, and left out of views.

One file that cannot be read must not keep all others from being read, nor new spans from being written. What an
error is about is not taken from its text alone: objects are read whole and compared with the catalog's checksums.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

import anyio
import xxhash
from anyio import to_thread

from agenttrace_core.errors import (
    ArchivedError,
    CorruptionError,
    GoneError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from agenttrace_core.model.segment import SegmentFile, Snapshot, StoredObject
from agenttrace_core.ports.catalog import SegmentCatalog
from agenttrace_core.ports.index import View
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.storage import ObjectStorage

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_SPARE = frozenset({"rollup", "grams"})
"""Objects without which answers are the same, and late."""

_ON_DEMAND = frozenset({"payload", "attributes"})
"""Objects that only some questions read: the others see the file as it is."""

_PIECE_BYTES = 8 << 20
_DAMAGED_FILES = 100
"""How many may come to light by one reading."""
_REST_S = 60.0

_strictly: ContextVar[bool] = ContextVar("strictly", default=False)


@contextmanager
def strictly() -> Generator[None]:
    """See, for the length of a block, no file of which anything is damaged that a question may read."""
    token = _strictly.set(True)
    try:
        yield
    finally:
        _strictly.reset(token)


class SoundFiles:
    """What one process knows of damaged files. Nothing is known at its start, nor written down.

    What was found damaged stays left out until the process ends, or the catalog has it no more.

    Args:
        catalog: says which files there should be.
        storage: has their objects.
        meter: is told how many are damaged.
    """

    def __init__(self, catalog: SegmentCatalog, storage: ObjectStorage, *, meter: Meter | None = None) -> None:
        self._catalog, self._storage = catalog, storage
        self._meter: Meter = meter or NoMeter()
        self._damaged: Mapping[UUID, frozenset[str]] = {}
        self._views: dict[bool, tuple[View, View]] = {}
        self._examined: dict[UUID, float] = {}
        self._examining = anyio.Lock()

    def view(self, view: View) -> View:
        """Return a view without what is damaged: the same one for the same one, until more is."""
        if not self._damaged:
            return view
        is_strict = _strictly.get()
        known = self._views.get(is_strict)
        if known is None or known[0] is not view:
            files = tuple(sound for file in view.snapshot.files if (sound := self._sound(file, is_strict)) is not None)
            known = self._views[is_strict] = view, replace(view, snapshot=replace(view.snapshot, files=files))
        return known[1]

    def left_out(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the ids of the files of a snapshot that are left out of views of it."""
        if not self._damaged:
            return ()
        return tuple(str(file.id) for file in snapshot.files if self._sound(file, _strictly.get()) is None)

    async def read(self, attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Return what ``attempt`` returns, calling it again as long as it meets files that turn out to be damaged.

        Raises:
            CorruptionError, GoneError: it fails by what is no file of the catalog.
        """
        for _ in range(_DAMAGED_FILES):
            try:
                return await attempt()
            except (CorruptionError, GoneError) as error:
                if not await self.examine(error):
                    raise
        return await attempt()

    async def examine(self, error: CorruptionError | GoneError) -> bool:
        """Find out which files an error is about. Say whether it makes sense to ask again, of what is left.

        The files that the error names are read whole; all of them, where it names none. What was read a moment ago is
        not read again. What is gone and in no file of the catalog was merged with others meanwhile.

        Raises:
            UnavailableError: the catalog or the storage does not answer.
        """
        async with self._examining:
            snapshot = await self._catalog.snapshot()
            live = {file.id for file in snapshot.files}
            self._damaged = {file: roles for file, roles in self._damaged.items() if file in live}
            self._examined = {file: at for file, at in self._examined.items() if file in live}
            named = [file for file in snapshot.files if _names(str(error), file)]
            is_news = False
            for file in named if named or isinstance(error, GoneError) else snapshot.files:
                if time.monotonic() - self._examined.get(file.id, -_REST_S) >= _REST_S:
                    is_news |= await self._examine(file)
            self._meter.gauge("damaged_files", len(self._damaged))
        return is_news or any(file.id in self._damaged for file in named)

    async def _examine(self, file: SegmentFile) -> bool:
        """Find out what of a file is damaged, and say whether that is news."""
        known = self._damaged.get(file.id, frozenset())
        damaged = await self._damage(file)
        self._examined[file.id] = time.monotonic()
        if damaged:
            self._damaged = {**self._damaged, file.id: damaged}
            self._views.clear()
        return not damaged <= known

    def _sound(self, file: SegmentFile, is_strict: bool) -> SegmentFile | None:
        damaged = self._damaged.get(file.id)
        if damaged is None:
            return file
        if damaged - _SPARE - (frozenset() if is_strict else _ON_DEMAND):
            return None
        return replace(file, objects={role: o for role, o in file.objects.items() if role not in damaged & _SPARE})

    async def _damage(self, file: SegmentFile) -> frozenset[str]:
        known = self._damaged.get(file.id, frozenset())
        damaged: set[str] = set()
        for role, stored in file.objects.items():
            reason = await self._fault(stored)
            if reason is None:
                continue
            damaged.add(role)
            if role not in known:
                told = {"file": str(file.id), "key": stored.key, "rows": file.rows, "reason": reason}
                _log.error("an object is damaged: what it holds is left out until it is restored", extra=told)
        return frozenset(damaged)

    async def _fault(self, stored: StoredObject) -> str | None:
        """Return what is wrong with an object, None if it is what was stored."""
        digest = xxhash.xxh3_128()
        try:
            for begin in range(0, stored.size, _PIECE_BYTES):
                wanted = begin, min(_PIECE_BYTES, stored.size - begin)
                for piece in await self._storage.get_ranges(stored.key, [wanted]):
                    await to_thread.run_sync(digest.update, piece)
        except NotFoundError:
            return "it is gone"
        except InvalidInputError:
            return f"it is shorter than {stored.size} bytes"
        except ArchivedError:
            return None  # nobody can say before it is restored
        except UnavailableError:
            raise
        except (CorruptionError, OSError) as error:
            return str(error)
        return None if digest.hexdigest() == stored.checksum else "it does not have its checksum"


def _names(text: str, file: SegmentFile) -> bool:
    return str(file.id) in text or any(stored.key in text for stored in file.objects.values())


def names_of(files: Sequence[str]) -> str:
    """Name files that are left out, for people."""
    shown = ", ".join(files[:3])
    return shown if len(files) <= 3 else f"{shown} and {len(files) - 3} more"
