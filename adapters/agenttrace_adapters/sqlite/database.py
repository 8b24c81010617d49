"""Connections, transactions and migrations of the SQLite file, and what SQLite's errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from agenttrace_adapters.sql import CREATE_MIGRATIONS, FORMAT, Many, Migration, Now, Rows, Statement, Steps, migrations
from agenttrace_core.errors import ConfigurationError, CorruptionError, UnavailableError

T = TypeVar("T")

MEMORY = ":memory:"

_BUSY_TIMEOUT_S = 15.0


def connect(path: str) -> sqlite3.Connection:
    """Open a connection that commits durably and waits for other processes.

    The caller sees to it that one thread uses it at a time.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        # FULL: in WAL mode, NORMAL would lose the newest commits with the machine's power.
        connection.execute("PRAGMA synchronous=FULL")
        if path != MEMORY:
            _set_wal(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def create_private(path: Path) -> None:
    """Make the file for its owner alone, since it holds secrets. Does nothing if it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _set_wal(connection: sqlite3.Connection) -> None:
    # Changing the mode needs the file alone, and does not wait for it as other statements do.
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def migrate(connection: sqlite3.Connection, path: str, now_ns: Callable[[], int]) -> None:
    """Bring the schema to this release's format, in one transaction.

    Raises:
        ConfigurationError: a newer release has written the file.
    """
    with transaction(connection):
        connection.execute(CREATE_MIGRATIONS)
        (found,) = connection.execute("SELECT COALESCE(MAX(number), 0) FROM migrations").fetchone()
        if found > FORMAT:
            raise ConfigurationError(
                f"metadata = 'sqlite:{path}': format {found} was written by a newer release; "
                f"this one reads up to {FORMAT}"
            )
        for migration in migrations()[found:]:
            _apply(connection, migration, now_ns())


def _apply(connection: sqlite3.Connection, migration: Migration, now_ns: int) -> None:
    for statement in migration.statements:
        connection.execute(statement)
    connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (migration.number, migration.name, now_ns))


def run(connection: sqlite3.Connection, steps: Steps[T], clock: Callable[[], int]) -> T:
    """Execute the statements of ``steps`` one after the other, and return what they end in."""
    try:
        statement = next(steps)
        while True:
            statement = steps.send(_execute(connection, statement, clock))
    except StopIteration as end:
        result: T = end.value
        return result


def _execute(connection: sqlite3.Connection, statement: Statement, clock: Callable[[], int]) -> Rows:
    if isinstance(statement, Now):
        return [(clock(),)]
    if isinstance(statement, Many):
        connection.executemany(statement.sql, statement.each)
        return []
    return connection.execute(statement.sql, statement.values).fetchall()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """Run a block that changes things: alone from its beginning, all or nothing."""
    with _in(connection, "BEGIN IMMEDIATE"):
        yield connection


@contextmanager
def reading(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """Run a block whose reads all see the same moment."""
    with _in(connection, "BEGIN"):
        yield connection


@contextmanager
def _in(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back already after some errors
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: str) -> Generator[None]:
    """Turn sqlite3's errors into those that a caller can act on.

    Raises:
        CorruptionError: the file is damaged.
        UnavailableError: it is locked for too long, the disk is full or fails.
    """
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise UnavailableError(f"metadata 'sqlite:{path}': {error}") from error
    except sqlite3.DatabaseError as error:
        raise CorruptionError(f"metadata 'sqlite:{path}': {error}") from error
