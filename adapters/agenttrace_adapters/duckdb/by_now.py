"""Rows of one project in one view as they are by now, for those who read them a few columns at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_adapters.duckdb.trace_names import NAMED, with_names
from agenttrace_core.ports.index import View
from agenttrace_core.query.amend import AMENDED_COLUMNS, AMENDING_COLUMNS
from agenttrace_core.schema.tables import LOCATION


class ByNow:
    """Knows what of rows has changed since they were written, and whose they are by their trace.

    Args:
        sources: what the view consists of.
        view: the view.
        project: the project.
    """

    def __init__(self, sources: SourceCache, view: View, project: str) -> None:
        self._sources, self._view, self._project = sources, view, project

    async def joined(self, rows: str, files: Sequence[str], needed: Collection[str]) -> tuple[str, dict[str, pa.Table]]:
        """Return a FROM clause for light rows as they are by now, and the tables that it names.

        ``rows`` scans ``files``, in their order, with ``file_row_number``; ``needed`` are the columns asked.
        """
        asked = [name for name in AMENDED_COLUMNS if name in needed]
        if not asked:
            return rows, {}
        columns = {name: f"f.{name}" for name in asked}
        tables: dict[str, pa.Table] = {}
        joins = ""
        amended = await self._sources.amended(self._view, self._project)
        changed = {number: amended[source] for number, source in enumerate(files) if source in amended}
        if changed:
            of = np.repeat(np.array(list(changed), np.int64), [len(table) for table in changed.values()])
            table = pa.concat_tables(list(changed.values()))
            tables["amended"] = table.set_column(0, "source", pa.array(of))
            joins += " LEFT JOIN amended a ON a.source = f.file_index AND a.row = f.file_row_number"
            columns = {name: f"CASE WHEN a.row IS NULL THEN f.{name} ELSE a.{name} END" for name in asked}
        names = await self._names(needed)
        if names is not None:
            tables["trace_names"] = names
            joins += " LEFT JOIN trace_names n ON n.trace_id = f.trace_id"
            columns |= {c: f"COALESCE({columns[c]}, n.{NAMED[c]})" for c in asked if c in NAMED}
        if not joins:
            return rows, {}
        replaced = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        return f"(SELECT f.file_index AS file_index, f.* REPLACE ({replaced}) FROM {rows} f{joins})", tables  # noqa: S608 - names of our own columns

    async def filled(self, rows: pa.Table, needed: Collection[str]) -> pa.Table:
        """Return light rows, all columns, as they are by now; of the columns only ``needed`` ones matter."""
        if set(AMENDED_COLUMNS).isdisjoint(needed):
            return rows
        rows = (await self._sources.of_project(self._view, self._project)).changes.amend(rows)
        names = await self._names(needed)
        return rows if names is None else with_names(rows, names)

    async def read(self, columns: Sequence[str], read: Callable[[Sequence[str]], Awaitable[pa.Table]]) -> pa.Table:
        """Return ``columns`` and ``LOCATION`` of rows as they are by now; ``read`` reads columns as written."""
        if set(AMENDED_COLUMNS).isdisjoint(columns):
            return await read(columns)
        rows = await read(tuple(dict.fromkeys((*columns, *AMENDING_COLUMNS))))
        return (await self.filled(rows, columns)).select([*columns, *LOCATION.names])

    async def _names(self, needed: Collection[str]) -> pa.Table | None:
        if NAMED.keys().isdisjoint(needed):
            return None
        names = await self._sources.names(self._view, self._project)
        return names if len(names) else None
