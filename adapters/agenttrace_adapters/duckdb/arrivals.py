"""Rows by the order in which they arrived, out of files that are sorted by trace."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_adapters.duckdb.rows import ParquetRows
from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_core.model.segment import FileKind
from agenttrace_core.ports.index import View
from agenttrace_core.query.arrivals import ARRIVAL, first_arrived, is_new
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import LIGHT, LOCATION

_PLACES = pa.schema([*(LIGHT.field(name) for name in ARRIVAL), *LOCATION])


async def arrivals(sources: SourceCache, view: View, project: str, since: Mapping[int, int], limit: int) -> pa.Table:
    """Return the first rows of records at or after ``since``; see ``agenttrace_core.ports.index.Arrivals``.

    First only where every new row is, and then the rows of those that are wanted. What is in files is
    hardly ever new: their rows lie below the watermarks, and only a reader who has not come that far looks.
    """
    found, base = [_PLACES.empty_table()], view.snapshot.offset_base
    for chunk in view.live.chunks:
        if any(r.next > since.get(r.partition, 0) for r in chunk.ranges):
            own = np.flatnonzero(np.asarray(pc.equal(chunk.rows["project"], pa.scalar(project, pa.string()))))
            found.append(_new_places(chunk.rows, own, chunk.id, sources.dropped(view, chunk.id), since, base))
    if any(mark > since.get(partition, 0) for partition, mark in view.snapshot.watermarks.items()):
        found += await _in_files(sources, view, project, since)
    places = pa.concat_tables(found).combine_chunks()
    places = places.take(pa.array(first_arrived(places, limit)))
    return await _rows_at(sources, view, places)


async def _in_files(sources: SourceCache, view: View, project: str, since: Mapping[int, int]) -> list[pa.Table]:
    base = view.snapshot.offset_base
    least = base + min((since.get(partition, 0) for partition in view.snapshot.watermarks), default=0)
    found: list[pa.Table] = []
    for file in view.snapshot.files:
        runs = [(s.first_row, s.first_row + s.rows) for s in file.segments if s.project == project]
        if file.kind is not FileKind.SPANS or not runs:
            continue
        reader = await sources.rows(file, "light")
        rows = reader.rows_reaching("offset", least)
        rows = rows[np.logical_or.reduce([(rows >= first) & (rows < stop) for first, stop in runs])]
        if len(rows):
            dropped = sources.dropped(view, str(file.id))
            here = (await reader.at(rows)).twin()
            found.append(await to_thread.run_sync(_file_places, here, rows, str(file.id), dropped, since, base))
    return found


def _file_places(
    reader: ParquetRows,
    rows: Int64s,
    source: str,
    dropped: Int64s | None,
    since: Mapping[int, int],
    offset_base: int,
) -> pa.Table:
    table = reader.take(rows, ARRIVAL)
    reader.close()
    places = _new_places(table, np.arange(len(rows)), source, None, since, offset_base)
    numbers = rows[places["row"].to_numpy()]
    places = places.set_column(len(ARRIVAL) + 1, LOCATION.field("row"), pa.array(numbers, pa.int64()))
    return places if dropped is None else places.filter(pa.array(~np.isin(numbers, dropped)))


def _new_places(
    table: pa.Table,
    rows: Int64s,
    source: str,
    dropped: Int64s | None,
    since: Mapping[int, int],
    offset_base: int,
) -> pa.Table:
    kept = rows if dropped is None else rows[~np.isin(rows, dropped)]
    arrival = table.select(ARRIVAL).take(pa.array(kept, pa.int64()))
    new = is_new(arrival, since, offset_base)
    columns = [*arrival.filter(pa.array(new)).columns, pa.repeat(pa.scalar(source, pa.string()), int(new.sum()))]
    return pa.table([*columns, pa.array(kept[new], pa.int64())], schema=_PLACES)


async def _rows_at(sources: SourceCache, view: View, places: pa.Table) -> pa.Table:
    """Read rows from where they are, in the order of ``places``."""
    pieces = [pa.schema([*LIGHT, *LOCATION]).empty_table()]
    order: list[Int64s] = [np.zeros(0, np.int64)]
    source_of, row_of = np.array(places["source"].to_pylist(), object), places["row"].to_numpy()
    for source in dict.fromkeys(source_of):
        wanted = np.flatnonzero(source_of == source)
        rows, inverse = np.unique(row_of[wanted], return_inverse=True)
        file = sources.file(view, source)
        if file is None:
            light = sources.chunk(view, source).rows.select(LIGHT.names).take(pa.array(rows))
        else:
            reader = (await (await sources.rows(file, "light")).at(rows)).twin()
            light = await to_thread.run_sync(reader.take, rows, LIGHT.names)
            reader.close()
        light = light.append_column(LOCATION.field("source"), pa.repeat(pa.scalar(source, pa.string()), len(rows)))
        light = light.append_column(LOCATION.field("row"), pa.array(rows, pa.int64()))
        pieces.append(light.take(pa.array(inverse)).cast(pieces[0].schema))
        order.append(wanted)
    return pa.concat_tables(pieces).take(pa.array(np.argsort(np.concatenate(order))))
