"""The catalog in one SQLite file: WAL, fsync at every commit, as many processes as like.

Every method runs on a worker thread: changes on one connection, reads on another, so that a
commit that waits for the disk keeps no reader waiting.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from agenttrace_adapters.sql import LetterBounds, SqlCatalog, Steps
from agenttrace_adapters.sql.snapshots import SnapshotReader, read_difference
from agenttrace_adapters.sqlite.database import (
    MEMORY,
    connect,
    create_private,
    migrate,
    reading,
    run,
    transaction,
    translated,
)
from agenttrace_core.errors import ConfigurationError, CorruptionError, UnavailableError
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.ports.catalog import CatalogCapabilities

T = TypeVar("T")


class SqliteCatalog(SqlCatalog):
    """Metadata of one machine. ``:memory:`` as the path makes one that this instance alone sees.

    Args:
        path: the file, made at ``open`` if it is not there; other files are kept beside it.
        clock: returns nanoseconds since the epoch.
        bodies: how many body hashes are kept at least.
        letter_bounds: of each project's dead letters.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Callable[[], int] = time.time_ns,
        bodies: int = 200_000,
        letter_bounds: LetterBounds | None = None,
    ) -> None:
        super().__init__(bodies=bodies, letter_bounds=letter_bounds)
        self._path = path
        self._clock = clock
        self._writer: _Lane | None = None
        self._reader: _Lane | None = None
        self._snapshots = SnapshotReader()
        self._version: tuple[int, int] | None = None

    @classmethod
    def from_url(cls, url: str) -> SqliteCatalog:
        """Make one from ``sqlite:PATH`` or ``sqlite::memory:``.

        Raises:
            ConfigurationError: the URL names no path.
        """
        scheme, _, path = url.partition(":")
        if scheme != "sqlite" or not path:
            raise ConfigurationError(
                f"metadata = {url!r} names no file: write it like 'sqlite:/var/lib/agenttrace/catalog.sqlite'"
            )
        return cls(path)

    @property
    def capabilities(self) -> CatalogCapabilities:
        """Durable, and shared by processes, unless it is in memory."""
        is_file = self._path != MEMORY
        return CatalogCapabilities(durable=is_file, multi_process=is_file)

    async def open(self) -> None:
        """Open the file, and bring it to this release's format.

        Raises:
            ConfigurationError: a newer release wrote the file, or it is not SQLite's.
            UnavailableError: it cannot be opened or made.
        """
        await to_thread.run_sync(self._open)

    async def aclose(self) -> None:
        """Close the connections, once what runs on them is done. Idempotent."""
        lanes = dict.fromkeys(lane for lane in (self._reader, self._writer) if lane)
        self._reader = self._writer = self._version = None
        self._snapshots = SnapshotReader()
        for lane in lanes:
            await lane.run(sqlite3.Connection.close)

    async def snapshot(self) -> Snapshot:
        """Return the catalog at this moment; see the port. Costs what changed since the last call."""
        return await self._lane(self._reader).run(self._read_snapshot)

    async def version(self) -> int:
        """Return the newest version; see the port."""
        return await self._lane(self._reader).run(self._read_version)

    def _open(self) -> None:
        try:
            with translated(self._path):
                self._connect()
        except CorruptionError as error:
            raise ConfigurationError(f"metadata = 'sqlite:{self._path}' is not a catalog: {error}") from error

    def _connect(self) -> None:
        if self._path != MEMORY:
            create_private(Path(self._path))
        writer = connect(self._path)
        try:
            migrate(writer, self._path, self._clock)
            reader = connect(self._path) if self._path != MEMORY else None
        except BaseException:
            writer.close()
            raise
        self._writer = _Lane(writer, self._path)
        self._reader = _Lane(reader, self._path) if reader else self._writer

    async def _change(self, steps: Steps[T]) -> T:
        def change(db: sqlite3.Connection) -> T:
            with transaction(db):
                return run(db, steps, self._clock)

        return await self._lane(self._writer).run(change)

    async def _read(self, steps: Steps[T]) -> T:
        def read(db: sqlite3.Connection) -> T:
            with reading(db):
                return run(db, steps, self._clock)

        return await self._lane(self._reader).run(read)

    def _lane(self, lane: _Lane | None) -> _Lane:
        if lane is None:
            raise UnavailableError(f"metadata 'sqlite:{self._path}' is not open")
        return lane

    def _read_snapshot(self, db: sqlite3.Connection) -> Snapshot:
        with reading(db):
            difference = run(db, read_difference(self._snapshots.version), self._clock)
        return self._snapshots.apply(difference)

    def _read_version(self, db: sqlite3.Connection) -> int:
        # data_version changes when another connection commits, and is read from shared memory.
        # In memory there is no other connection, and it never changes.
        (hint,) = db.execute("PRAGMA data_version").fetchone()
        if self._version is None or self._version[0] != hint or self._path == MEMORY:
            (version,) = db.execute("SELECT version FROM catalog").fetchone()
            self._version = hint, version
        return self._version[1]


class _Lane:
    """A connection, and the right to use it, one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.Lock()
        self._limiter = CapacityLimiter(1)

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``function`` with the connection on a worker thread."""
        return await to_thread.run_sync(self._run, function, limiter=self._limiter)

    def _run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, translated(self._path):
            return function(self._connection)
