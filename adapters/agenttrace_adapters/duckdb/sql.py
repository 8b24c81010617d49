"""DuckDB over the light rows of one project in one view."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from anyio import to_thread

from agenttrace_core.errors import ConfigurationError, InvalidInputError
from agenttrace_core.model.principal import check_project
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import LIGHT

_COLUMNS = ", ".join(f'"{name}"' for name in LIGHT.names)


class SqlRunner:
    """Runs statements in DuckDB, in threads of its own, on a connection a statement.

    Args:
        memory_limit: such as ``256MB``.
        threads: how many one statement may use.
    """

    def __init__(self, *, memory_limit: str, threads: int) -> None:
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit, "threads": threads,
        }  # fmt: skip
        self._database: duckdb.DuckDBPyConnection | None = None

    async def open(self) -> None:
        """Start the database, which holds nothing.

        Raises:
            ConfigurationError: DuckDB refuses an option.
        """
        try:
            self._database = await to_thread.run_sync(_connect, self._config)
        except duckdb.Error as error:
            raise ConfigurationError(f"index: DuckDB refuses its options: {error}") from error

    async def aclose(self) -> None:
        """Stop it."""
        if self._database is not None:
            self._database.close()
            self._database = None

    async def run(
        self, statement: str, project: str, paths: Mapping[str, Path], dropped: Mapping[str, Int64s], live: pa.Table
    ) -> pa.Table:
        """Run ``statement`` with the table ``spans``: files by id, less ``dropped`` rows, and live rows.

        Raises:
            InvalidInputError: DuckDB refuses the statement.
        """
        assert self._database is not None, "open() comes before use"
        connection = self._database.cursor()
        try:
            return await to_thread.run_sync(_run, connection, statement, check_project(project), paths, dropped, live)
        except duckdb.Error as error:
            raise InvalidInputError(f"the statement cannot be run: {error}") from error
        finally:
            connection.close()


def _connect(config: dict[str, str | bool | int | float | list[str]]) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(":memory:", config=config)
    database.execute("SET parquet_metadata_cache = true")  # known only once its extension is loaded
    return database


def _run(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    project: str,
    paths: Mapping[str, Path],
    dropped: Mapping[str, Int64s],
    live: pa.Table,
) -> pa.Table:
    connection.register("live_spans", live)
    parts = [f"SELECT {_COLUMNS}, source, row FROM live_spans"]  # noqa: S608 - column names of our own schema
    if paths:
        connection.register("files", pa.table({"source": list(paths), "path": [str(p) for p in paths.values()]}))
        connection.register("dropped", _pairs(dropped))
        # A list of paths, never a pattern: what the catalog does not name is not there.
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths.values())
        parts.append(
            f"SELECT {_COLUMNS}, source, file_row_number AS row "  # noqa: S608 - our own paths, a checked project
            f"FROM read_parquet([{listed}], file_row_number = true, filename = true) "
            "JOIN files ON files.path = filename ANTI JOIN dropped ON "
            "dropped.source = files.source AND dropped.row = file_row_number "
            f"WHERE project = '{project}'"
        )
    connection.execute(f"CREATE TEMP VIEW spans AS {' UNION ALL '.join(parts)}")
    answer: pa.Table = connection.sql(statement).to_arrow_table()
    return answer


def _pairs(dropped: Mapping[str, Int64s]) -> pa.Table:
    counts = [len(rows) for rows in dropped.values()]
    rows = np.concatenate([np.zeros(0, np.int64), *dropped.values()])
    return pa.table({"source": np.repeat(np.array(list(dropped), object), counts).tolist(), "row": rows},
                    schema=pa.schema([("source", pa.string()), ("row", pa.int64())]))  # fmt: skip
