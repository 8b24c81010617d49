"""The catalog in one SQLite file: WAL, fsync at every commit, as many processes as like.

Every method runs on a worker thread: changes on one connection, reads on another, so that a
commit that waits for the disk keeps no reader waiting.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from anyio import CapacityLimiter, to_thread

from agenttrace_adapters.sqlite import changes, leases, letters
from agenttrace_adapters.sqlite.database import (
    MEMORY,
    connect,
    create_private,
    migrate,
    reading,
    transaction,
    translated,
)
from agenttrace_adapters.sqlite.letters import LetterBounds
from agenttrace_adapters.sqlite.snapshots import SnapshotReader
from agenttrace_core.errors import ConfigurationError, CorruptionError, UnavailableError
from agenttrace_core.model.segment import SegmentFile, Snapshot, StoredObject
from agenttrace_core.ports.catalog import CatalogCapabilities, Commit, DeadLetter, MetadataStore

_HASH_BYTES = 16
_SECRET_BYTES = 32

_T = TypeVar("_T")


class SqliteCatalog(MetadataStore):
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
        self._path = path
        self._clock = clock
        self._bodies = bodies
        self._letters = letter_bounds or LetterBounds()
        self._writer: _Lane | None = None
        self._reader: _Lane | None = None
        self._snapshots = SnapshotReader()
        self._version: tuple[int, int] | None = None
        self._secrets: dict[str, bytes] = {}

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

    async def register(self, file_id: UUID, objects: Sequence[StoredObject]) -> None:
        """Make a file pending; see the port. An object that is condemned is a conflict, too."""
        await self._change(lambda db: changes.register(db, file_id, objects, self._clock()))

    async def commit(self, commit: Commit) -> int:
        """Commit a flush; see the port."""
        return await self._change(lambda db: self._commit(db, commit))

    async def replace(self, old: Sequence[UUID], new: Sequence[SegmentFile], *, version: int) -> int:
        """Replace files; see the port."""
        return await self._change(lambda db: self._replace(db, old, new, version))

    async def snapshot(self) -> Snapshot:
        """Return the catalog at this moment; see the port. Costs what changed since the last call."""
        return await self._read(self._snapshots.read)

    async def version(self) -> int:
        """Return the newest version; see the port."""
        return await self._lane(self._reader).run(self._read_version)

    async def condemned(self, *, grace_s: float) -> Sequence[StoredObject]:
        """Condemn and list; see the port. What is condemned now is listed after as long again."""
        return await self._change(lambda db: self._condemned(db, grace_s))

    async def forget(self, keys: Sequence[str]) -> None:
        """Drop deleted objects; see the port."""
        await self._change(lambda db: changes.forget(db, keys, self._clock()))

    async def bodies(self, limit: int) -> Sequence[bytes]:
        """Return the newest body hashes, oldest first; see the port."""
        return await self._read(lambda db: _read_bodies(db, limit))

    async def watermarks(self) -> tuple[UUID | None, Mapping[int, int]]:
        """Return the queue's id and all watermarks; see the port."""
        return await self._read(_read_watermarks)

    async def dead_letters(self, project: str, *, limit: int, before: str | None = None) -> Sequence[DeadLetter]:
        """Return a project's newest letters; see the port."""
        return await self._read(lambda db: letters.newest(db, project, limit, before, self._letters, self._clock()))

    async def dead_letter(self, project: str, letter_id: str) -> DeadLetter:
        """Return one letter; see the port."""
        return await self._read(lambda db: letters.one(db, project, letter_id, self._letters, self._clock()))

    async def drop_dead_letters(self, project: str, ids: Sequence[str]) -> None:
        """Forget letters; see the port."""
        await self._change(lambda db: letters.drop(db, project, ids, self._clock()))

    async def secret(self, name: str) -> bytes:
        """Return a shared secret; see the port."""
        if name not in self._secrets:
            self._secrets[name] = await self._change(lambda db: _read_or_make_secret(db, name))
        return self._secrets[name]

    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or renew a lease; see the port."""
        now_ns = self._clock()
        return await self._change(lambda db: leases.take(db, name, holder, now_ns + int(ttl_s * 1e9), now_ns))

    async def release(self, name: str, holder: str) -> None:
        """Give up a lease; see the port."""
        await self._change(lambda db: leases.release(db, name, holder))

    async def leases(self, prefix: str = "") -> Mapping[str, str]:
        """Return who holds what; see the port."""
        return await self._read(lambda db: leases.held(db, prefix, self._clock()))

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

    async def _change(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        def run(db: sqlite3.Connection) -> _T:
            with transaction(db):
                return change(db)

        return await self._lane(self._writer).run(run)

    async def _read(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        def run(db: sqlite3.Connection) -> _T:
            with reading(db):
                return read(db)

        return await self._lane(self._reader).run(run)

    def _lane(self, lane: _Lane | None) -> _Lane:
        if lane is None:
            raise UnavailableError(f"metadata 'sqlite:{self._path}' is not open")
        return lane

    def _commit(self, db: sqlite3.Connection, commit: Commit) -> int:
        now_ns = self._clock()
        changes.advance(db, commit.queue_id, commit.advances)
        version = changes.next_version(db)
        for file in commit.files:
            changes.make_live(db, file, version, now_ns)
        changes.supersede(db, commit.superseded, version)
        changes.remember_bodies(db, commit.bodies, self._bodies)
        if commit.dead_letters:
            letters.add(db, commit.dead_letters, self._letters, now_ns)
        return version

    def _replace(self, db: sqlite3.Connection, old: Sequence[UUID], new: Sequence[SegmentFile], since: int) -> int:
        now_ns = self._clock()
        version = changes.next_version(db)
        changes.kill(db, dict.fromkeys(old), since, version, now_ns)
        for file in new:
            changes.make_live(db, file, version, now_ns)
        return version

    def _condemned(self, db: sqlite3.Connection, grace_s: float) -> list[StoredObject]:
        now_ns = self._clock()
        before_ns = now_ns - int(grace_s * 1e9)
        changes.abandon(db, before_ns, now_ns)
        letters.forget_old(db, self._letters, now_ns)
        return changes.condemned(db, before_ns)

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

    async def run(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        """Call ``function`` with the connection on a worker thread."""
        return await to_thread.run_sync(self._run, function, limiter=self._limiter)

    def _run(self, function: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._lock, translated(self._path):
            return function(self._connection)


def _read_bodies(db: sqlite3.Connection, limit: int) -> list[bytes]:
    newest = list[bytes]()
    for (hashes,) in db.execute("SELECT hashes FROM bodies ORDER BY last_number DESC"):
        if len(newest) >= limit:
            break
        newest += [hashes[at : at + _HASH_BYTES] for at in range(len(hashes) - _HASH_BYTES, -1, -_HASH_BYTES)]
    return newest[:limit][::-1]


def _read_watermarks(db: sqlite3.Connection) -> tuple[UUID | None, Mapping[int, int]]:
    (queue_id,) = db.execute("SELECT queue_id FROM catalog").fetchone()
    found = dict(db.execute("SELECT partition_number, next_offset FROM watermarks"))
    return UUID(queue_id) if queue_id else None, found


def _read_or_make_secret(db: sqlite3.Connection, name: str) -> bytes:
    made = secrets.token_bytes(_SECRET_BYTES)
    db.execute("INSERT INTO secrets VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, made))
    (value,) = db.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
    return bytes(value)
