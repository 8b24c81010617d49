"""Values and keys that occur, for completion: of the newest spans, so many that it stays quick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa

from agenttrace_adapters.duckdb.fields import Parameters, SqlField, Type, field_sql, map_key
from agenttrace_adapters.duckdb.masks import live_table
from agenttrace_adapters.duckdb.parts import Part, Parts
from agenttrace_adapters.duckdb.search import first_parts
from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_core.model.algebra import Attribute, Field
from agenttrace_core.schema.arrays import whole
from agenttrace_core.schema.attribute_columns import IN_PAYLOAD, column_of

LOOKED_AT = 1 << 20
"""Rows, at least, of which values are counted, where there are as many."""

_TEXTS = {Type.TEXT, Type.TEXTS, Type.ATTRIBUTE}


class Suggestions:
    """Counts what occurs in one project's newest parts.

    Args:
        sql: DuckDB.
        sources: where objects are.
        parts: knows which attributes have columns.
        newest: the project's parts, newest first.
    """

    def __init__(self, sql: SqlRunner, sources: SourceCache, parts: Parts, newest: Sequence[Part]) -> None:
        self._sql, self._sources, self._parts = sql, sources, parts
        looked_at = first_parts(newest, LOOKED_AT)
        self._chunks = [part for part in looked_at if part.table is not None]
        self._of_files: dict[str, list[Part]] = {}
        for part in looked_at:
            if part.file is not None:
                self._of_files.setdefault(part.source, []).append(part)

    async def values(self, field: Field, prefix: str, limit: int) -> list[tuple[str, int]]:
        """Return the commonest values of a field that begin so, with how many spans have each; none of numbers."""
        counts: Counter[str] = Counter()
        parameters = Parameters()
        found = field_sql(field, parameters)
        if found.type not in _TEXTS:
            return []
        if self._chunks:
            self._add(counts, await self._counted(found, "live", prefix, limit, parameters, live=True))
        for parts in self._of_files.values():
            given = Parameters()
            object_name, column = await self._column(parts[0], field, given)
            if column is not None:
                source = await self._source(parts, object_name, given)
                self._add(counts, await self._counted(column, source, prefix, limit, given))
        return _commonest(counts, limit)

    async def keys(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        """Return the commonest keys of attributes that begin so, with how many spans have each."""
        counts: Counter[str] = Counter()
        for part in self._chunks:
            assert part.table is not None, "chunks have tables"
            counted = whole(part.table["attributes"]).keys.value_counts()
            counts.update(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))
        for parts in self._of_files.values():
            counts.update(await self._keys_of_file(parts))
        begun = Counter({key: count for key, count in counts.items() if key.startswith(prefix) and count})
        return _commonest(begun, limit)

    async def _keys_of_file(self, parts: Sequence[Part]) -> dict[str, int]:
        """Count the values of each column: a file's keys may be those of another project's spans alone."""
        file = parts[0].file
        assert file is not None, "these parts are a file's"
        keys = await self._parts.attribute_keys(file)
        if keys is None or not keys.columns:
            return {}
        given = Parameters()
        source = await self._source(parts, "attributes", given)
        columns = ", ".join(f"count({column_of(key)})" for key in keys.columns)
        found = await self._sql.ask(f"SELECT {columns} FROM {source}", given.values, {})  # noqa: S608 - hashes
        return dict(zip(keys.columns, (column[0].as_py() for column in found.columns), strict=True))

    async def _column(self, part: Part, field: Field, given: Parameters) -> tuple[str, SqlField | None]:
        """Return in which object of a file a field is, and its expression there; None if it is nowhere."""
        assert part.file is not None, "this part is a file's"
        if not isinstance(field, Attribute):
            return "light", field_sql(field, given)
        keys = await self._parts.attribute_keys(part.file)
        if keys is None or (keys.rest is None or map_key(field) in keys.rest):
            return "light", field_sql(field, given)
        has_column = map_key(field) in keys.columns
        return "attributes", SqlField(column_of(map_key(field)), Type.ATTRIBUTE) if has_column else None

    async def _source(self, parts: Sequence[Part], name: str, given: Parameters) -> str:
        file = parts[0].file
        assert file is not None, "these parts are a file's"
        path = given.bind(str(await self._sources.path(file, name)))
        rows = " OR ".join(
            f"file_row_number BETWEEN {part.first_row} AND {part.first_row + part.rows - 1}" for part in parts
        )
        return f"(SELECT * FROM read_parquet({path}, file_row_number = true) WHERE {rows})"  # noqa: S608 - numbers

    async def _counted(
        self, field: SqlField, source: str, prefix: str, limit: int, given: Parameters, *, live: bool = False
    ) -> pa.Table:
        value = f"unnest({field.sql})" if field.type is Type.TEXTS else field.sql
        return await self._sql.ask(
            f"SELECT value, count(*) AS spans FROM (SELECT {value} AS value FROM {source}) "  # noqa: S608 - ours
            f"WHERE starts_with(value, {given.bind(prefix)}) AND value <> {given.bind(IN_PAYLOAD)} "
            f"GROUP BY value ORDER BY spans DESC, value LIMIT {limit * 8}",
            given.values,
            {"live": live_table(self._chunks)} if live else {},
        )

    @staticmethod
    def _add(counts: Counter[str], found: pa.Table) -> None:
        counts.update(dict(zip(found["value"].to_pylist(), found["spans"].to_pylist(), strict=True)))


def _commonest(counts: Counter[str], limit: int) -> list[tuple[str, int]]:
    ordered: Iterable[tuple[str, int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return list(ordered)[:limit]
