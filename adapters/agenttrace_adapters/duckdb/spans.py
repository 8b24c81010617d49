"""The spans of one project in one view, as a table of DuckDB.

Whoever asks over many rows asks this table. It holds the rows that count, and what later arrivals
changed in rows already written (``counted``, the context) is in place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.trace_names import NAMED
from agenttrace_core.query.amend import AMENDED_COLUMNS
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import LIGHT, LOCATION

AMENDED = pa.schema([*LOCATION, *(LIGHT.field(name) for name in AMENDED_COLUMNS)])
"""Where a row is, and what these columns are by now."""


@dataclass(frozen=True, slots=True)
class SpansTable:
    """A project's spans, not read yet.

    Attributes:
        project: a checked name.
        paths: light objects by file id.
        dropped: by file id, the rows that do not count, ascending.
        amended: rows of files of which a column is no longer as written, in the schema ``AMENDED``.
        live: rows that are not in files yet, as they are by now: ``LIGHT`` and ``LOCATION``.
        narrowed: of files that are as they were written, in an order, a condition over ``file_index`` in that order
            and ``file_row_number`` that is true of all rows that matter; None where all rows of all files may.
        names: ``TRACE_NAMES`` that are to be put where rows have no session or user; None where nobody asks.
    """

    project: str
    paths: Mapping[str, Path]
    dropped: Mapping[str, Int64s]
    amended: pa.Table
    live: pa.Table
    names: pa.Table | None = None
    narrowed: Sequence[tuple[Sequence[str], str]] | None = None

    def only(self, files: Collection[str], *, live: bool = True) -> SpansTable:
        """Return the same of some files alone, with or without what is live."""
        paths = {source: path for source, path in self.paths.items() if source in files}
        narrowed = self.narrowed if len(paths) == len(self.paths) else None
        return replace(self, paths=paths, live=self.live if live else self.live.slice(0, 0), narrowed=narrowed)

    def touched(self) -> set[str]:
        """Return the files that are not, to the last row, as they were written: roll-ups do not hold for them."""
        return self.paths.keys() & (self.dropped.keys() | set(self.amended["source"].unique().to_pylist()))

    def select(self, connection: duckdb.DuckDBPyConnection, columns: Sequence[str] = LIGHT.names) -> str:
        """Return a SELECT of ``columns`` (of ``LIGHT`` and ``LOCATION``), to be run on ``connection``.

        What it reads is registered with the connection under names of its own; call it once a connection.
        Of the files, only columns that the statement around it uses are read.
        """
        if self.names is not None and len(self.names) and not NAMED.keys().isdisjoint(columns):
            connection.register("spans_names", self.names)
            rows = replace(self, names=None).select(connection, tuple(dict.fromkeys((*columns, "trace_id"))))
            said = {c: f"COALESCE(r.{c}, n.{NAMED[c]}) AS {c}" for c in NAMED}
            listed = ", ".join(said.get(c, f"r.{_quoted(c)}") for c in columns)
            joined = f"({rows}) r LEFT JOIN spans_names n ON n.trace_id = r.trace_id"
            return f"SELECT {listed} FROM {joined}"  # noqa: S608 - our own names
        connection.register("spans_live", self.live)
        listed = ", ".join(_quoted(name) for name in columns)
        parts = [f"SELECT {listed} FROM spans_live"]  # noqa: S608 - column names of our own schema
        touched = self.touched()
        plain = [(sorted(self.paths.keys() - touched), "TRUE")] if len(touched) < len(self.paths) else []
        for number, (sources, among) in enumerate(plain if self.narrowed is None else self.narrowed):
            rows = self._of_files(connection, f"spans_plain{number}", sources, columns)
            parts.append(f"{rows} AND {among}")
        if touched:
            connection.register("spans_dropped", _pairs(self.dropped, touched))
            connection.register("spans_amended", self.amended)
            parts.append(self._of_files(connection, "spans_touched", sorted(touched), columns))
        return " UNION ALL ".join(parts)

    def rows_of_files(
        self, connection: duckdb.DuckDBPyConnection, sources: Sequence[str], columns: Sequence[str]
    ) -> str:
        """Return a SELECT of rows of files that are not ``touched``; ``file_index`` is the place among ``sources``."""
        return self._of_files(connection, "spans_plain", sources, columns)

    def _of_files(
        self, connection: duckdb.DuckDBPyConnection, name: str, sources: Iterable[str], columns: Sequence[str]
    ) -> str:
        """Select from some files; the table ``name`` says which is where. Untouched ones need no look-up a row."""
        of = {source: str(self.paths[source]) for source in sources}
        is_touched = name == "spans_touched"
        # A list of paths, never a pattern: what the catalog does not name is not there.
        listed_paths = ", ".join(_literal(path) for path in of.values())
        scan = f"read_parquet([{listed_paths}], file_row_number = true, filename = true) f"
        if is_touched or "source" in columns:
            connection.register(name, pa.table({"source": list(of), "path": list(of.values())}))
            scan += f" JOIN {name} ON {name}.path = f.filename"
        if is_touched:
            scan += (
                f" ANTI JOIN spans_dropped d ON d.source = {name}.source AND d.row = f.file_row_number"
                f" LEFT JOIN spans_amended a ON a.source = {name}.source AND a.row = f.file_row_number"
            )
        known = {"source": f"{name}.source", "row": "f.file_row_number"}
        if is_touched:
            known |= {c: f"CASE WHEN a.row IS NULL THEN f.{c} ELSE a.{c} END" for c in AMENDED_COLUMNS}
        listed = ", ".join(f"{known.get(c, 'f.' + _quoted(c))} AS {_quoted(c)}" for c in columns)
        return f"SELECT {listed} FROM {scan} WHERE f.project = {_literal(self.project)}"  # noqa: S608 - our own names


def _pairs(dropped: Mapping[str, Int64s], sources: Collection[str]) -> pa.Table:
    chosen = {source: rows for source, rows in dropped.items() if source in sources}
    rows = np.concatenate([np.zeros(0, np.int64), *chosen.values()])
    named = pa.array([source for source, own in chosen.items() for _ in range(len(own))], pa.string())
    return pa.table([named, pa.array(rows)], schema=LOCATION)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
