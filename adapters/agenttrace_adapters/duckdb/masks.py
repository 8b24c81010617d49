"""Which rows of some parts satisfy a span predicate: a mask a part, from as few columns as can say it.

Columns of light rows and of attributes are in two objects of a file. What is asked of one of them alone
is one statement; what is asked of both is two, whose masks are put together here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.by_now import ByNow
from agenttrace_adapters.duckdb.fields import Parameters, map_key
from agenttrace_adapters.duckdb.grams import TextBlocks
from agenttrace_adapters.duckdb.parts import Part, Parts
from agenttrace_adapters.duckdb.predicates import condition, leaves, text_in_attributes, text_in_columns
from agenttrace_adapters.duckdb.scored import ScoredRows
from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_core.model.algebra import And, Attribute, Compare, Contains, Not, Or, Present, Score, SpanPredicate
from agenttrace_core.model.segment import SegmentFile
from agenttrace_core.query.evaluate import needed_columns
from agenttrace_core.query.score_match import score_names
from agenttrace_core.schema.arrays import Bools
from agenttrace_core.schema.attribute_columns import AttributeKeys, column_of
from agenttrace_core.schema.tables import LIGHT

Masks = dict[Part, Bools]
"""Of parts that have any, which of their rows are so. Of the others, none is."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Files that can be asked alike: of those that have attributes in columns, which keys have them."""

    files: Mapping[str, SegmentFile]
    parts: Sequence[Part]
    keys: AttributeKeys | None


class RowScanner:
    """Asks the rows of one project.

    Args:
        sql: DuckDB.
        sources: where objects are.
        parts: knows which attributes have columns.
        project: whose rows are asked.
        scored: knows rows by their scores.
        by_now: knows what of rows has changed since they were written.
        texts: knows which rows may hold a text.
    """

    def __init__(
        self,
        sql: SqlRunner,
        sources: SourceCache,
        parts: Parts,
        project: str,
        scored: ScoredRows,
        by_now: ByNow,
        texts: TextBlocks,
    ) -> None:
        self._sql, self._sources, self._parts, self._project, self._scored = sql, sources, parts, project, scored
        self._by_now, self._texts = by_now, texts

    async def satisfying(self, parts: Sequence[Part], predicate: SpanPredicate, *, undecided: bool) -> Masks:
        """Return which rows satisfy a predicate; ``undecided`` is what counts where light rows cannot tell."""
        found: Masks = {}
        for group in await self._groups(parts, predicate):
            found |= await self._of_files(group, predicate, undecided=undecided)
        chunks = [part for part in parts if part.table is not None]
        if chunks and score_names(predicate):
            for part in chunks:
                assert part.table is not None, "a chunk's part has a table"
                table = await self._by_now.filled(part.table, needed_columns(predicate))
                filled = replace(part, table=table)
                found[part] = await self._scored.of_chunk(filled, predicate, undecided=undecided)
        elif chunks:
            found |= await self._of_chunks(chunks, predicate, undecided=undecided)
        return found

    async def _groups(self, parts: Sequence[Part], predicate: SpanPredicate) -> list[_Files]:
        """Put files together that have columns for the same of the keys that are asked for."""
        files = {part.source: part.file for part in parts if part.file is not None}
        asked = None if any(isinstance(leaf, Contains) for leaf in leaves(predicate)) else set(_keys_of(predicate))
        groups: dict[AttributeKeys | None, dict[str, SegmentFile]] = {}
        for source, file in files.items():
            keys = await self._parts.attribute_keys(file) if asked is None or asked else None
            if keys is not None and asked is not None:
                columns = tuple(sorted(asked.intersection(keys.columns)))
                rest = asked if keys.rest is None else asked.intersection(keys.rest)
                # A key that has no column, and may be in the map, has all asked of the map.
                keys = None if rest.difference(columns) else AttributeKeys(columns, ())
            groups.setdefault(keys, {})[source] = file
        return [_Files(of, [p for p in parts if p.source in of], keys) for keys, of in groups.items()]

    async def _of_files(self, group: _Files, predicate: SpanPredicate, *, undecided: bool) -> Masks:
        light, columns = _asked_of(predicate)
        parameters = Parameters()
        if (group.keys is None and not score_names(predicate)) or not columns:
            where = condition(predicate, parameters, undecided=undecided)
            return await self._hits(group, "light", where, parameters, needed_columns(predicate))
        if not light:
            where = condition(predicate, parameters, undecided=undecided, keys=group.keys)
            return await self._hits(group, "attributes", where, parameters)
        return await self._put_together(group, predicate, undecided=undecided)

    async def _put_together(self, group: _Files, predicate: SpanPredicate, *, undecided: bool) -> Masks:
        """Ask what is of several objects piece by piece."""
        match predicate:
            case And(of):
                return await self._all_of(group, _sorted_apart(of, And), undecided=undecided)
            case Or(of):
                masks = [await self._of_files(group, p, undecided=undecided) for p in _sorted_apart(of, Or)]
                return _either(masks)
            case Not(of):
                inner = await self._of_files(group, of, undecided=not undecided)
                return {p: ~inner[p] if p in inner else np.ones(p.rows, np.bool_) for p in group.parts}
            case Contains(text, payload):
                return await self._text(group, text, payload=payload, undecided=undecided)
            case Compare(Score(name)) | Present(Score(name)):
                op, value = (predicate.op, predicate.value) if isinstance(predicate, Compare) else (None, None)
                return {part: await self._scored.of_part(part, name, op, value) for part in group.parts}
            case _:
                raise AssertionError("a field is in one object")

    async def _all_of(self, group: _Files, of: Sequence[SpanPredicate], *, undecided: bool) -> Masks:
        found: Masks | None = None
        for predicate in of:
            if found is not None and not found:
                break
            parts = group.parts if found is None else list(found)
            files = {part.source: group.files[part.source] for part in parts}
            narrowed = _Files(files, parts, group.keys)
            masks = await self._of_files(narrowed, predicate, undecided=undecided)
            found = masks if found is None else {p: found[p] & mask for p, mask in masks.items() if p in found}
        return found or {}

    async def _text(self, group: _Files, text: str, *, payload: bool, undecided: bool) -> Masks:
        if payload and undecided:
            return {part: np.ones(part.rows, np.bool_) for part in group.parts}
        masks: list[Masks] = []
        for asked in await self._texts.asked(list(group.files.values()), text):
            files = {str(file.id): file for file in asked.files}
            own = _Files(files, [part for part in group.parts if part.source in files], group.keys)
            masks += await self._texts_of(own, text, asked.condition)
        return _either(masks)

    async def _texts_of(self, group: _Files, text: str, among: str) -> list[Masks]:
        """Return which rows hold a text in each of the places where it may be; ``among`` is true of all that may."""
        assert group.keys is not None
        given = [Parameters() for _ in range(3)]
        where = f"{among} AND {text_in_columns(text, given[0])}"
        masks = [await self._hits(group, "light", where, given[0])]
        if group.keys.columns:
            where = f"{among} AND {condition(Contains(text), given[1], undecided=False, keys=group.keys)}"
            masks.append(await self._hits(group, "attributes", where, given[1]))
        if group.keys.rest is None or group.keys.rest:
            where = f"{among} AND {text_in_attributes(text, given[2])}"
            masks.append(await self._hits(group, "light", where, given[2]))
        return masks

    # --- Statements ---

    async def _hits(
        self, group: _Files, name: str, where: str, parameters: Parameters, needed: Collection[str] = ()
    ) -> Masks:
        given: dict[str, object] = dict(parameters.values)
        given["files"] = [str(path) for path in await self._sources.paths(list(group.files.values()), name)]
        rows, tables = "read_parquet($files, file_row_number = true)", dict[str, pa.Table]()
        if name == "light":
            rows, tables = await self._by_now.joined(rows, list(group.files), needed)
        mine = ""
        if name == "light" and any(s.project != self._project for f in group.files.values() for s in f.segments):
            given["project"], mine = self._project, " AND project = $project"
        found = await self._sql.ask(
            "SELECT file_index::BIGINT AS source, file_row_number AS row "  # noqa: S608 - see predicates
            f"FROM {rows} WHERE {where}{mine}",
            given,
            tables,
        )
        return _masks(found, list(group.files), group.parts)

    async def _of_chunks(self, chunks: Sequence[Part], predicate: SpanPredicate, *, undecided: bool) -> Masks:
        parameters = Parameters()
        live = await self._by_now.filled(live_table(chunks), needed_columns(predicate))
        keys = None
        if not any(isinstance(leaf, Contains) for leaf in leaves(predicate)):
            keys = AttributeKeys(tuple(dict.fromkeys(_keys_of(predicate))), ())
            for key in keys.columns:
                live = live.append_column(column_of(key), pa.chunked_array([part.attribute(key) for part in chunks]))
        where = condition(predicate, parameters, undecided=undecided, keys=keys)
        statement = f"SELECT source, row FROM live WHERE {where}"  # noqa: S608 - see predicates
        found = await self._sql.ask(statement, parameters.values, {"live": live})
        return _masks(found, [part.source for part in chunks], chunks)


def live_table(chunks: Sequence[Part]) -> pa.Table:
    """Return the rows of live chunks, with the number of the chunk among these, and the place of each in its part."""
    tables = [
        part.table.select(LIGHT.names)
        .append_column("source", pa.repeat(pa.scalar(i, pa.int64()), part.rows))
        .append_column("row", pa.array(np.arange(part.rows)))
        for i, part in enumerate(chunks)
        if part.table is not None
    ]
    return pa.concat_tables(tables)


def _masks(found: pa.Table, sources: Sequence[str], parts: Sequence[Part]) -> Masks:
    number, row = found["source"].to_numpy(), found["row"].to_numpy()
    if len(sources) > 1:
        # Of 16 bits, they are sorted in time that only grows with their number.
        order = np.argsort(number.astype(np.uint16), kind="stable")
        number, row = number[order], row[order]
    ends = np.searchsorted(number, np.arange(len(sources) + 1))
    of_source = {source: row[ends[i] : ends[i + 1]] for i, source in enumerate(sources)}
    masks: Masks = {}
    for part in parts:
        rows = of_source[part.source] - part.first_row
        rows = rows[(rows >= 0) & (rows < part.rows)]
        if len(rows):
            masks[part] = np.zeros(part.rows, np.bool_)
            masks[part][rows] = True
    return masks


def _asked_of(predicate: SpanPredicate) -> tuple[bool, bool]:
    """Return whether light columns are asked, and whether attributes are; both, where scores are."""
    asked = [_asked_of_leaf(leaf) for leaf in leaves(predicate)]
    return not asked or any(light for light, _ in asked), any(columns for _, columns in asked)


def _asked_of_leaf(leaf: Compare | Present | Contains) -> tuple[bool, bool]:
    if isinstance(leaf, Contains) or isinstance(leaf.field, Score):
        return True, True
    return not isinstance(leaf.field, Attribute), isinstance(leaf.field, Attribute)


def _sorted_apart(of: Sequence[SpanPredicate], kind: type[And | Or]) -> list[SpanPredicate]:
    """Put together what is asked of one object; light columns come first."""
    kinds: dict[tuple[bool, bool], list[SpanPredicate]] = {}
    for predicate in of:
        kinds.setdefault(_asked_of(predicate), []).append(predicate)
    apart: list[SpanPredicate] = []
    for key in sorted(kinds, key=lambda asked: (asked[1], asked[0])):
        apart += kinds[key] if key == (True, True) else [kind(tuple(kinds[key]))]
    return apart


def _either(masks: Iterable[Masks]) -> Masks:
    found: Masks = {}
    for of in masks:
        for part, mask in of.items():
            found[part] = found[part] | mask if part in found else mask
    return found


def _keys_of(predicate: SpanPredicate) -> Iterable[str]:
    for leaf in leaves(predicate):
        if not isinstance(leaf, Contains) and isinstance(leaf.field, Attribute):
            yield map_key(leaf.field)
