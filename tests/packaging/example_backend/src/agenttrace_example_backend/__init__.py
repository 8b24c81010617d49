"""A span queue in one SQLite file: ``example:PATH``."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar
from uuid import UUID, uuid4

import anyio
import anyio.to_thread

from agenttrace_core.errors import ConfigurationError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, QueueCapabilities, Record, Signal, SpanQueue

R = TypeVar("R")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT, signal TEXT, received_ns INTEGER, body BLOB
);
"""
_END = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'records'), 0) + 1"
_CAPABILITIES = QueueCapabilities(
    durable=True,
    multi_process=True,
    multi_machine=False,
    addressable=False,
    byte_offsets=False,
    max_record_bytes=1 << 24,
)
_POLL_S = 0.02


class ExampleQueue(SpanQueue):
    """One partition; an offset is a row's number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._turn = anyio.Lock()
        self._queue_id = UUID(int=0)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from ``example:PATH``."""
        path = url.removeprefix("example:")
        if not path:
            raise ConfigurationError(f"queue = {url!r}: write example:PATH")
        return cls(Path(path))

    @property
    def capabilities(self) -> QueueCapabilities:
        """Durable and shared, but offsets count rows."""
        return _CAPABILITIES

    @property
    def queue_id(self) -> UUID:
        """Kept in the file."""
        return self._queue_id

    async def open(self) -> None:
        """Make or open the file."""
        self._connection = await anyio.to_thread.run_sync(self._connect)
        rows = await self._run(lambda c: c.execute("SELECT id FROM queue").fetchall())
        self._queue_id = UUID(rows[0][0])

    async def aclose(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        """Insert one row, and return once its transaction is synced."""
        if len(body) > _CAPABILITIES.max_record_bytes:
            raise PayloadTooLargeError(f"a record of {len(body)} bytes; at most {_CAPABILITIES.max_record_bytes}")
        row = (headers.project, headers.signal, headers.received_ns, body)
        insert = "INSERT INTO records (project, signal, received_ns, body) VALUES (?, ?, ?, ?) RETURNING number"
        (number,) = await self._run(lambda c: c.execute(insert, row).fetchone())
        return Position(0, number, number + 1)

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        """Select rows from ``offset`` on."""
        deadline = time.monotonic() + wait_s
        while not (found := await self._run(lambda c: _select(c, offset, max_bytes))):
            if time.monotonic() >= deadline:
                break
            await anyio.sleep(_POLL_S)
        return found

    async def begin_offsets(self) -> Mapping[int, int]:
        """The least row kept, or the end."""
        (least,) = await self._run(lambda c: c.execute("SELECT min(number) FROM records").fetchone())
        return {0: least} if least is not None else await self.end_offsets()

    async def end_offsets(self) -> Mapping[int, int]:
        """One above the greatest number ever given."""
        return {0: (await self._run(lambda c: c.execute(_END).fetchone()))[0]}

    async def trim(self, partition: int, offset: int) -> None:
        """Delete the rows below ``offset``."""
        await self._run(lambda c: c.execute("DELETE FROM records WHERE number < ?", (offset,)).fetchall())

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {_SCHEMA}")
        connection.execute("INSERT INTO queue SELECT ? WHERE NOT EXISTS (SELECT 1 FROM queue)", (str(uuid4()),))
        return connection

    async def _run(self, work: Callable[[sqlite3.Connection], R]) -> R:
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise UnavailableError(f"{self._path} is not open")
            try:
                return await anyio.to_thread.run_sync(work, connection)
            except sqlite3.OperationalError as error:
                raise UnavailableError(f"{self._path}: {error}") from error


def _select(connection: sqlite3.Connection, offset: int, max_bytes: int) -> list[Record]:
    query = "SELECT number, project, signal, received_ns, body FROM records WHERE number >= ? ORDER BY number"
    records: list[Record] = []
    for number, project, signal, received_ns, body in connection.execute(query, (offset,)):
        max_bytes -= len(body)
        if records and max_bytes < 0:
            break
        records.append(Record(Position(0, number, number + 1), Headers(project, Signal(signal), received_ns), body))
    return records
