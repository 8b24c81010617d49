"""Which traces the rows of files have in each group, by where these rows stand and not by what their traces are called.

Rows of a trace lie side by side in a file, whose ledger says where. So a trace is told by the number of a row, which
costs a tenth of what it costs to compare names of 32 letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.fields import Parameters
from agenttrace_adapters.duckdb.grouping import Grouping
from agenttrace_adapters.duckdb.runs import TraceRun
from agenttrace_adapters.duckdb.spans import SpansTable
from agenttrace_core.schema.arrays import Int64s, UInt64s, numbers, whole
from agenttrace_core.schema.tables import LIGHT

_ROWS_AT_ONCE = 1_000_000
_MOST_PLACES = 16_000_000

_Int32s = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, slots=True)
class RowMembers:
    """Traces of groups as a file's rows tell them.

    ``hi``, ``lo`` and ``start`` are of the file's traces. The ``group``s that it has are those of so many rows of a
    table of groups; trace ``trace[i]`` is in that at place ``place[i]``, each pair once.
    """

    hi: UInt64s
    lo: UInt64s
    start: Int64s
    group: Int64s
    place: _Int32s
    trace: _Int32s

    @classmethod
    def of(cls, runs: Sequence[TraceRun], group: Int64s, lists: Sequence[Int64s]) -> RowMembers:
        """Read the ledger of a file. ``lists`` are the numbers of rows in each group."""
        hi, lo, start, first, count = (
            np.concatenate([numbers(run.sums, name) for run in runs])
            for name in ("trace_hi", "trace_lo", "start_ns", "first_row", "rows")
        )
        first, count = first.astype(np.int64), count.astype(np.int64)
        of_row = np.zeros(int((first + count).max(initial=0)), np.int64)
        row = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        of_row[row] = np.repeat(np.arange(len(first)), count)
        size = max(1, len(hi))
        pairs = _different([size * place + of_row[rows] for place, rows in enumerate(lists)], size * len(lists))
        place, trace = (pairs // size).astype(np.int32), (pairs % size).astype(np.int32)
        return cls(hi, lo, start, group, place, trace)


def members_of_rows(
    connection: duckdb.DuckDBPyConnection,
    spans: SpansTable,
    runs: Mapping[str, Sequence[TraceRun]],
    grouping: Grouping,
    where: str,
    parameters: Parameters,
) -> tuple[pa.Table, list[RowMembers]]:
    """Return the groups of the rows of some files, those of ``runs``, that satisfy ``where``, and their traces."""
    keys = [*grouping.dims, "other"]
    listed = ", ".join([*keys, "file_index"])
    groups: list[pa.Table] = []
    found: list[RowMembers] = []
    for some in _in_batches(runs):
        rows = spans.rows_of_files(connection, some, (*LIGHT.names, "file_index", "file_row_number"))
        grouped = grouping.grouped(rows, parameters, where, bucketed=False)
        statement = f"SELECT {listed}, list(file_row_number) AS rows FROM ({grouped}) GROUP BY {listed}"  # noqa: S608
        placed = connection.sql(statement, params=parameters.values).to_arrow_table()
        begun = sum(map(len, groups))
        groups.append(placed.select(keys))
        lists = whole(placed["rows"])
        values, offsets = lists.values.to_numpy(), lists.offsets.to_numpy()
        file = placed["file_index"].to_numpy()
        for number, source in enumerate(some):
            items = np.flatnonzero(file == number)
            if len(items):
                own = [values[offsets[item] : offsets[item + 1]] for item in items]
                found.append(RowMembers.of(runs[source], items + begun, own))
    return pa.concat_tables(groups), found


def _different(keys: Sequence[Int64s], size: int) -> Int64s:
    if size > _MOST_PLACES:
        return np.unique(np.concatenate(keys))
    has = np.zeros(size, np.bool_)
    for own in keys:
        has[own] = True
    different: Int64s = np.flatnonzero(has)
    return different


def _in_batches(files: Mapping[str, Sequence[TraceRun]]) -> Iterator[list[str]]:
    batch: list[str] = []
    held = 0
    for file, runs in files.items():
        rows = sum(int(numbers(run.sums, "rows").sum()) for run in runs)
        if batch and held + rows > _ROWS_AT_ONCE:
            yield batch
            batch, held = [], 0
        batch.append(file)
        held += rows
    if batch:
        yield batch
