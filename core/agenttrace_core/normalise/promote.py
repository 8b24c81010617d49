"""Applies the rules to a whole batch: attributes in, canonical columns out.

Work is done in columns, and only for sources that occur in the batch and rows that no better source has
filled. Python sees single values where a text is JSON, or a number is written as something else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.normalise import nested, previews, values
from agenttrace_core.normalise.attributes import NOWHERE, Attributes, Batch
from agenttrace_core.normalise.conditions import Conditions
from agenttrace_core.normalise.numbered import FIRST, last_said
from agenttrace_core.normalise.rules import RULES, Rule, Source
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.wire.quality import Flags

_TYPES = {
    "text": pa.string(), "count": pa.int64(), "duration": pa.int64(), "money": pa.decimal128(18, 12),
    "tags": pa.list_(pa.string()), "flag": pa.string(), "input": pa.string(), "output": pa.string(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filled:
    """A column, and which of its rule's sources gave each row's value (its number, -1 for none)."""

    values: pa.Array
    source: Int64s


def promote(batch: Batch, rules: tuple[Rule, ...] = RULES) -> dict[str, Filled]:
    """Return what each rule's column holds, by its name; null where no source gives a value.

    ``batch.quality`` is marked where a text that was used is not UTF-8.
    """
    promotion = _Promotion(batch, _keys(rules))
    for rule in rules:
        promotion.fill(rule)
    return promotion.columns


@cache
def _keys(rules: tuple[Rule, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All attributes of spans, and of resources, that any rule names."""
    sources = [source for rule in rules for source in rule.sources]
    plain = [s.name for s in sources if s.kind == "key"]
    plain += [s.name + first for s in sources if s.kind == "numbered" for first in FIRST]
    added = [name for s in sources if s.kind == "key" and s.path is None for name in s.add]
    asked = [key for s in sources if s.when is not None for key in s.when.keys]
    resources = [s.name for s in sources if s.kind == "resource"]
    return tuple(dict.fromkeys([*plain, *added, *asked])), tuple(dict.fromkeys(resources))


@dataclass(slots=True)
class _Candidates:
    """Rows that a source may fill, ascending, and where in ``attributes`` the value of each lies."""

    rows: Int64s
    where: Int64s
    attributes: Attributes

    def keep(self, which: Bools) -> None:
        self.rows, self.where = self.rows[which], self.where[which]


@dataclass(slots=True)
class _Promotion:
    """One batch on its way through the rules."""

    batch: Batch
    keys: tuple[tuple[str, ...], tuple[str, ...]]
    columns: dict[str, Filled] = field(default_factory=dict)
    _found: dict[str, Int64s] = field(init=False)
    _found_resources: dict[str, Int64s] = field(init=False)
    _conditions: Conditions = field(init=False)
    _filled: dict[str, pa.Array] = field(default_factory=dict)
    _parsed: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._found = self.batch.spans.find(self.keys[0])
        self._found_resources = self.batch.resources.find(self.keys[1])
        self._conditions = Conditions(self.batch, self._found, self._found_resources, self._filled)

    def fill(self, rule: Rule) -> None:
        """Fill a column source by source, the most preferred first, until every row has a value."""
        rows = len(self.batch)
        place, source_of_row = np.full(rows, -1, np.int64), np.full(rows, -1, np.int64)
        pieces: list[pa.Array] = []
        filled = 0
        for number, source in enumerate(rule.sources):
            if not self._conditions.may_give(source):
                continue
            found = self._from(source, rule.type, place)
            if found is None:
                continue
            at, piece = found
            place[at] = filled + np.arange(len(at))
            source_of_row[at] = number
            pieces.append(piece)
            filled += len(piece)
            if filled == rows:
                break
        if filled == rows and len(pieces) == 1:
            whole = pieces[0]  # of every row, and rows ascend
        elif pieces:
            whole = pa.concat_arrays(pieces).take(pa.array(place, mask=place < 0))
        else:
            whole = pa.nulls(rows, _TYPES[rule.type])
        self._filled[rule.column] = whole
        self.columns[rule.column] = Filled(whole, source_of_row)

    def _from(self, source: Source, kind: str, place: Int64s) -> tuple[Int64s, pa.Array] | None:
        """Return the rows, still empty, that ``source`` has a value for, and the values."""
        if source.kind == "numbered":
            rows = self._with_numbered(source.name, place)
            piece = self._shortened(self._numbered(source.name, kind, rows), rows)
        elif source.kind in ("key", "resource"):
            candidates = self._candidates(source, place)
            if candidates is None:
                return None
            rows, piece = candidates.rows, self._read(source, kind, candidates)
        else:
            rows = np.flatnonzero(self._conditions.mask(source.when) & (place < 0))
            if len(rows) == 0:
                return None
            piece = self._without_attribute(source, kind, rows)
        if pa.types.is_string(piece.type):
            piece = _refine(piece, source)
        usable = np.flatnonzero(np.asarray(piece.is_valid()))
        # Of a key that a span carries twice the first counts.
        first = np.ones(len(usable), np.bool_)
        first[1:] = rows[usable][1:] != rows[usable][:-1]
        usable = usable[first]
        if len(usable) == 0:
            return None
        return rows[usable], piece if len(usable) == len(piece) else piece.take(pa.array(usable))

    def _candidates(self, source: Source, place: Int64s) -> _Candidates | None:
        if source.kind == "key":
            where = self._found[source.name]
            candidates = _Candidates(self.batch.spans.row[where], where, self.batch.spans)
        else:
            candidates = self._of_resources(self._found_resources[source.name])
        candidates.keep(place[candidates.rows] < 0)
        if source.when is not None and len(candidates.rows):
            candidates.keep(self._conditions.mask(source.when)[candidates.rows])
        return candidates if len(candidates.rows) else None

    def _of_resources(self, where: Int64s) -> _Candidates:
        """Give each span what its resource says."""
        resources = self.batch.resources
        of_resource = np.full(len(self.batch.raw_resources), -1, np.int64)
        of_resource[resources.row[where][::-1]] = where[::-1]
        of_span = of_resource[self.batch.resource_of_span]
        rows = np.flatnonzero(of_span >= 0)
        return _Candidates(rows, of_span[rows], resources)

    def _read(self, source: Source, kind: str, candidates: _Candidates) -> pa.Array:
        """Return a value (or null) for each candidate."""
        attributes = candidates.attributes
        where = pa.array(candidates.where)
        if kind in _FIND:
            return self._previews(source, kind, candidates)
        if source.path is None and not source.add:
            if kind in ("text", "flag") or source.pattern:
                own = np.zeros(len(candidates.rows), np.uint16)
                found = values.texts(attributes.values, where, own)
                self._mark(candidates.rows, own)
                if kind in ("text", "flag"):
                    return found
                return _column([values.SINGLE[kind](single) for single in _refine(found, source).to_pylist()], kind)
            if kind == "count":
                return values.counts(attributes.values, where)
        singles = zip(values.loose(attributes.values, where), candidates.where, candidates.rows, strict=True)
        return _column([self._single(source, kind, attributes, *single) for single in singles], kind)

    def _single(self, source: Source, kind: str, attributes: Attributes, value: Any, where: int, row: int) -> Any:
        """Return one value, as a column of ``kind`` holds it."""
        if value is None:
            value = self._nested(source, attributes, where, row)
        if source.path is not None:
            value = self._stepped(source, kind, value)
            if kind != "duration":
                return value
        if kind == "duration":
            return values.nanoseconds(value, source.unit, self.batch.starts[row].as_py())
        if kind == "tags" and type(value) is str and value[:1] == "[":
            value = nested.parse(value.encode()) or value
        whole = values.SINGLE[kind](value)
        for name in source.add:
            whole = _sum(kind, whole, self._first(name, row))
        return whole

    def _previews(self, source: Source, kind: str, candidates: _Candidates) -> pa.Array:
        texts = candidates.attributes.values.field("string_value").take(pa.array(candidates.where))
        own = np.zeros(len(texts), np.uint16)
        if source.verbatim:
            found = previews.beginnings(texts, own)
        else:
            found = previews.previews(texts, own, of_input=kind == "input")
        self._mark(candidates.rows, own)
        if not texts.null_count:
            return found
        inner = [
            None if text is not None else self._nested(source, candidates.attributes, int(where), int(row))
            for text, where, row in zip(texts.to_pylist(), candidates.where, candidates.rows, strict=True)
        ]
        shown = [previews.as_it_came(v) if source.verbatim else previews.preview_of(v, _FIND[kind]) for v in inner]
        return pc.coalesce(found, self._shortened(shown, candidates.rows))

    def _shortened(self, found: list[bytes | None], rows: Int64s) -> pa.Array:
        own = np.zeros(len(rows), np.uint16)
        short = previews.shortened(pa.array(found, pa.binary()), own)
        self._mark(rows, own)
        return short

    def _mark(self, rows: Int64s, own: Flags) -> None:
        if own.any():
            self.batch.quality[rows] |= own

    def _nested(self, source: Source, attributes: Attributes, where: int, row: int) -> Any:
        """Return a value that is an array or an object, which the columns leave out."""
        if source.kind == "key":
            return nested.value_of(nested.span_of(self.batch.raw[row].as_py()).attributes, source.name)
        resource = self.batch.raw_resources[int(attributes.row[where])].as_py()
        return nested.value_of(nested.resource_of(resource or b"").attributes, source.name)

    def _stepped(self, source: Source, kind: str, value: Any) -> Any:
        """Return what lies at the source's path in ``value``, an object or its JSON."""
        top = self._parse(value)
        found = nested.step_into(top, source.path or ())
        if kind in ("text", "flag"):
            return values.clean(str(found)) if type(found) in (str, int, float, bool) and found != "" else None
        if kind == "duration":
            return found
        read = values.SINGLE[kind]
        if source.add == ("*",):
            amounts = [read(number) for number in nested.numbers_in(found)]
            return sum(a for a in amounts if a is not None) if amounts else None
        whole = None if type(found) in (int, float, str) and str(found) in source.excepted else read(found)
        for path in source.add:
            whole = None if whole is None else _sum(kind, whole, nested.step_into(top, tuple(path.split("."))))
        return whole

    def _parse(self, value: Any) -> Any:
        if type(value) is not str:
            return value
        # Several sources look into one text.
        if value not in self._parsed:
            self._parsed[value] = nested.parse(value.encode("utf-8", "surrogatepass"))
        return self._parsed[value]

    def _first(self, name: str, row: int) -> Any:
        where = self._found.get(name, NOWHERE)
        mine = where[self.batch.spans.row[where] == row]
        return values.loose(self.batch.spans.values, pa.array(mine[:1]))[0] if len(mine) else None

    def _with_numbered(self, name: str, place: Int64s) -> Int64s:
        found = [self.batch.spans.row[self._found[name + first]] for first in FIRST if name + first in self._found]
        rows = np.unique(np.concatenate(found)) if found else NOWHERE
        return rows[place[rows] < 0]

    def _numbered(self, name: str, kind: str, rows: Int64s) -> list[bytes | None]:
        spans = self.batch.spans
        wanted = np.zeros(len(self.batch), np.bool_)
        wanted[rows] = True
        is_mine = wanted[spans.row] & spans.begin_with(f"{name}.")
        where = np.flatnonzero(is_mine)
        pairs = list(zip(spans.names_at(where), values.loose(spans.values, pa.array(where)), strict=True))
        ends = np.searchsorted(spans.row[where], rows, side="right")
        starts = np.searchsorted(spans.row[where], rows, side="left")
        said = (last_said(pairs[i:j], name, by_user=kind == "input") for i, j in zip(starts, ends, strict=True))
        return [_preview(text, kind) for text in said]

    def _said(self, source: Source, kind: str, row: int) -> bytes | None:
        """Return what the last event of the source's name says."""
        data = self.batch.raw[row].as_py()
        wanted = source.name.encode()
        if wanted not in data:
            return None
        for event in reversed(nested.span_of(data).events):
            for attribute in source.add if event.name == wanted else ():
                said = nested.value_of(event.attributes, attribute)
                if said is not None:
                    return _preview(said, kind)
        return None

    def _without_attribute(self, source: Source, kind: str, rows: Int64s) -> pa.Array:
        if source.kind == "said":
            return self._shortened([self._said(source, kind, int(row)) for row in rows], rows)
        if source.kind == "give":
            return pa.array([source.name], pa.string()).take(pa.array(np.zeros(len(rows), np.int64)))
        if source.kind == "event":
            return pa.array([self._event(source.name, int(row)) for row in rows], pa.int64())
        named = self.batch.names.take(pa.array(rows))
        return pc.if_else(pc.equal(named, pa.scalar("", pa.string())), pa.scalar(None, pa.string()), named)

    def _event(self, name: str, row: int) -> int | None:
        """Return nanoseconds from a span's start to its first event of this name."""
        data, start = self.batch.raw[row].as_py(), self.batch.starts[row].as_py()
        wanted = name.encode()
        if start is None or wanted not in data:
            return None
        times = [event.time_unix_nano for event in nested.span_of(data).events if event.name == wanted]
        first = min(times, default=0)
        return first - start if start <= first < 2**63 else None


_FIND = {"input": previews.said_to, "output": previews.said_by}


def _preview(value: Any, kind: str) -> bytes | None:
    if type(value) is not str:
        return previews.preview_of(value, _FIND[kind])
    read = previews.input_preview if kind == "input" else previews.output_preview
    return read(value.encode("utf-8", "replace"))


def _refine(found: pa.StringArray, source: Source) -> pa.StringArray:
    """Return texts as the source's translation leaves them; each different one is looked at once."""
    if not (source.excepted or source.pattern or source.fold or source.values):
        return found
    encoded = found.dictionary_encode()
    refined = _refine_each(encoded.dictionary, source)
    return found if refined.equals(encoded.dictionary) else refined.take(encoded.indices)


def _refine_each(found: pa.StringArray, source: Source) -> pa.StringArray:
    if source.excepted:
        none = pc.is_in(found, value_set=pa.array(source.excepted, pa.string()))
        found = pc.if_else(none, pa.scalar(None, pa.string()), found)
    if source.pattern:
        found = values.extract(found, source.pattern)
    if source.fold:
        found = pc.utf8_lower(found)
    return values.translate(found, dict(source.values), other=source.other) if source.values else found


def _sum(kind: str, whole: int | None, more: Any) -> int | None:
    added = values.SINGLE[kind](more)
    return whole if added is None else added if whole is None else whole + added


def _column(singles: list[Any], kind: str) -> pa.Array:
    return values.money(singles) if kind == "money" else pa.array(singles, _TYPES[kind])
