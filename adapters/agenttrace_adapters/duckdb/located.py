"""Rows with where they are (``LOCATION``), out of tables and files."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_adapters.duckdb.ranged import ObjectRows
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import LIGHT, LOCATION

_INLINE_ROWS = 4_096
"""Reads of so few rows are done where they are asked for: the way to a thread and back costs more."""


async def take_rows(rows_of: ObjectRows, rows: Int64s, names: list[str]) -> pa.Table:
    """Return columns of an object's rows, given by number, ascending."""
    reader = await rows_of.at(rows)
    if len(rows) <= _INLINE_ROWS:
        return reader.take(rows, names)
    return await to_thread.run_sync(lambda: reader.twin().take(rows, names))


def schema_of(names: Sequence[str]) -> pa.Schema:
    """Return the schema of some columns of ``LIGHT`` and ``LOCATION``."""
    return pa.schema([*(LIGHT.field(name) for name in names), *LOCATION])


def located(table: pa.Table, source: str, rows: Int64s) -> pa.Table:
    """Return rows of a table, with the source that it is, and their numbers."""
    taken = table if len(rows) == len(table) else table.take(pa.array(rows))
    columns = [*taken.columns, repeated(source, len(rows)), pa.array(rows)]
    return pa.table(columns, schema=pa.schema([*table.schema, *LOCATION]))


def placed(rows: pa.Table, source: str) -> pa.Table:
    """Return rows that hold the columns of ``LIGHT`` and ``row``, with their source, which is one."""
    columns = [*rows.select(LIGHT.names).columns, repeated(source, len(rows)), rows["row"]]
    return pa.table(columns, schema=pa.schema([*rows.select(LIGHT.names).schema, *LOCATION]))


def is_text(column: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    """Return which values are a text."""
    return pc.equal(column, text_scalar(text))


def repeated(text: str, count: int) -> pa.Array:
    """Return a text so many times."""
    return pa.repeat(text_scalar(text), count)


def text_scalar(text: str) -> pa.Scalar:
    """Return a text as pyarrow has it."""
    # Without a type pyarrow guesses one, and looks for pandas and dateutil on the disk each time.
    return pa.scalar(text, pa.string())
