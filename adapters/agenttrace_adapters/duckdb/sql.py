"""DuckDB over the light rows of one project in one view."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple

import duckdb
import pyarrow as pa
from anyio import get_cancelled_exc_class, sleep, to_thread

from agenttrace_adapters.duckdb.spans import SpansTable
from agenttrace_core.errors import ConfigurationError, CorruptionError, GoneError, InvalidInputError
from agenttrace_core.schema.tables import LIGHT, LOCATION

_Given = TypeVarTuple("_Given")
_Answer = TypeVar("_Answer")

_MAX_SPILL = "4GB"
"""What a question may put on disk where memory does not suffice."""

_SIGNS_OF_DAMAGE = ("failed to read file", "no magic bytes", ".parquet", "corrupt")

_CLOSE_TRIES = 500
_CLOSE_WAIT_S = 0.01

_COLUMNS = (*LIGHT.names, *LOCATION.names)


class SqlRunner:
    """Runs statements in DuckDB, in threads of its own, on a connection a statement.

    Args:
        memory_limit: such as ``256MB``.
        threads: how many one statement may use.
    """

    def __init__(self, *, memory_limit: str, threads: int) -> None:
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit, "threads": threads, "max_temp_directory_size": _MAX_SPILL,
        }  # fmt: skip
        self._spill: str | None = None
        self._database: duckdb.DuckDBPyConnection | None = None

    async def open(self) -> None:
        """Start the database, which holds nothing.

        Raises:
            ConfigurationError: DuckDB refuses an option.
        """
        # Without a folder of its own, it takes the one that the process was started in.
        self._spill = await to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="agenttrace-duckdb-"))
        try:
            self._database = await to_thread.run_sync(_connect, self._config | {"temp_directory": self._spill})
        except duckdb.Error as error:
            await self._remove_spill()
            raise ConfigurationError(f"index: DuckDB refuses its options: {error}") from error

    async def aclose(self) -> None:
        """Stop it, once what was interrupted has ended."""
        if self._database is None:
            return
        for _ in range(_CLOSE_TRIES):
            try:
                self._database.close()
                break
            except duckdb.Error:  # a statement has not noticed yet that nobody waits for it
                await sleep(_CLOSE_WAIT_S)
        self._database = None
        await self._remove_spill()

    async def _remove_spill(self) -> None:
        if self._spill is not None:
            await to_thread.run_sync(shutil.rmtree, self._spill, True)
            self._spill = None

    async def run(self, statement: str, spans: SpansTable) -> pa.Table:
        """Run ``statement`` with the table ``spans``.

        Raises:
            InvalidInputError: DuckDB refuses the statement.
        """
        try:
            return await self.work(_run, statement, spans)
        except duckdb.Error as error:
            raise InvalidInputError(f"the statement cannot be run: {error}") from error

    async def ask(self, statement: str, parameters: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> pa.Table:
        """Run a statement of our own over ``tables`` and what it reads itself, all else being ``parameters``.

        Raises:
            InvalidInputError: DuckDB refuses the statement, or has no memory for it.
            CorruptionError, GoneError: a file is damaged or gone.
        """
        try:
            return await self.work(_ask, statement, parameters, tables)
        except duckdb.Error as error:
            raise InvalidInputError(f"the question cannot be answered: {error}") from error

    async def work(self, function: Callable[[duckdb.DuckDBPyConnection, *_Given], _Answer], *args: *_Given) -> _Answer:
        """Call ``function(connection, *args)`` in a thread, on a connection of its own, which is closed at its end.

        A cancelled task interrupts what the connection is at, and does not wait for it.

        Raises:
            InvalidInputError: the question needs more memory than there is for it.
            CorruptionError, GoneError: a file is damaged or gone.
        """
        assert self._database is not None, "open() comes before use"
        connection = self._database.cursor()
        try:
            return await to_thread.run_sync(_worked, connection, function, args, abandon_on_cancel=True)
        except get_cancelled_exc_class():
            with suppress(duckdb.Error):  # it had just ended
                connection.interrupt()
            raise


def _ask(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    parameters: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
) -> pa.Table:
    for name, table in tables.items():
        connection.register(name, table)
    answer: pa.Table = connection.sql(statement, params=dict(parameters)).to_arrow_table()
    return answer


def _worked(
    connection: duckdb.DuckDBPyConnection, function: Callable[..., _Answer], args: tuple[object, ...]
) -> _Answer:
    try:
        return function(connection, *args)
    except duckdb.OutOfMemoryException as error:
        raise InvalidInputError(
            "the question needs more memory than one may have: ask for a shorter time, or for fewer groups"
        ) from error
    except duckdb.IOException as error:
        raise GoneError(f"a file is gone: files were merged while they were read; ask again: {error}") from error
    except duckdb.Error as error:
        if _tells_of_damage(error):
            raise CorruptionError(f"a file cannot be read: {error}") from error
        raise
    finally:
        connection.close()


def _tells_of_damage(error: duckdb.Error) -> bool:
    """Tell what the reader of Parquet files says from what is wrong with a question."""
    text = str(error).lower()
    return type(error) is duckdb.Error or any(sign in text for sign in _SIGNS_OF_DAMAGE)


def _connect(config: dict[str, str | bool | int | float | list[str]]) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(":memory:", config=config)
    database.execute("SET GLOBAL parquet_metadata_cache = true")  # known only once its extension is loaded
    database.execute("SET GLOBAL preserve_insertion_order = false")  # who wants an order says so, and memory is short
    return database


def _run(connection: duckdb.DuckDBPyConnection, statement: str, spans: SpansTable) -> pa.Table:
    connection.execute(f"CREATE TEMP VIEW spans AS {spans.select(connection, _COLUMNS)}")
    answer: pa.Table = connection.sql(statement).to_arrow_table()
    return answer
