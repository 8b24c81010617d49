"""Applies the rules to a whole batch: attributes in, canonical columns out, no Python a span."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.normalise.rules import RULES, Rule
from agenttrace_core.schema.tables import LIGHT
from agenttrace_core.wire.quality import Flags, as_text

Ints = np.ndarray[Any, np.dtype[np.int64]]

_MAX_INT64 = np.iinfo(np.int64).max

# Without a type pyarrow guesses one, and looks for pandas and dateutil on the disk each time.
_EMPTY, _NO_TEXT = pa.scalar("", pa.string()), pa.scalar(None, pa.string())
_ZERO, _NO_COUNT = pa.scalar(0, pa.int64()), pa.scalar(None, pa.int64())


@dataclass(frozen=True, slots=True)
class Attributes:
    """All attributes of a batch, end to end: ``row`` is the span (or resource) that each belongs to."""

    keys: pa.BinaryArray
    values: pa.StructArray
    row: Ints

    @classmethod
    def of(cls, lists: pa.ListArray) -> Attributes:
        """Flatten a list of OTLP ``KeyValue`` a row. A row whose list is null has none."""
        pairs = lists.flatten()
        return cls(pairs.field("key"), pairs.field("value"), np.asarray(pc.list_parent_indices(lists)))


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rules of one level, with every attribute key that any of them names."""

    rules: tuple[Rule, ...]
    keys: pa.BinaryArray
    code_of: dict[str, int]


@cache
def _plan(level: str) -> _Plan:
    rules = tuple(rule for rule in RULES if rule.level == level)
    keys = list(dict.fromkeys(source.key for rule in rules for source in rule.sources))
    return _Plan(rules, pa.array([key.encode() for key in keys], pa.binary()), {k: i for i, k in enumerate(keys)})


def promote(attributes: Attributes, rows: int, quality: Flags, *, level: str = "span") -> dict[str, pa.Array]:
    """Return the columns that the rules of ``level`` give, each of length ``rows``; null where no source does.

    ``quality`` has one item a row, and is changed in place where a text is not UTF-8.
    """
    plan = _plan(level)
    codes = pc.index_in(attributes.keys, value_set=plan.keys)
    named = np.flatnonzero(np.asarray(codes.is_valid()))
    code_of_named = codes.fill_null(-1).to_numpy()[named]
    by_code = named[np.argsort(code_of_named, kind="stable")]
    bounds = np.searchsorted(np.sort(code_of_named), np.arange(len(plan.keys) + 1))
    found = {key: by_code[bounds[code] : bounds[code + 1]] for key, code in plan.code_of.items()}
    return {rule.column: _column(rule, attributes, found, rows, quality) for rule in plan.rules}


def _column(rule: Rule, attributes: Attributes, found: dict[str, Ints], rows: int, quality: Flags) -> pa.Array:
    """Fill a column source by source, the least preferred first, so that the better ones overwrite it."""
    kind = LIGHT.field(rule.column).type
    is_text = pa.types.is_string(kind)
    pieces: list[pa.Array] = []
    place = np.full(rows, -1, np.int64)
    filled = 0
    for source in reversed(rule.sources):
        where = found[source.key]
        if len(where) == 0:
            continue
        own = np.zeros(len(where), np.uint16)
        taken = attributes.values.take(pa.array(where))
        piece = _texts(taken, own) if is_text else _counts(taken)
        if source.values:
            piece = _translate(piece, dict(source.values))
        usable = np.asarray(piece.is_valid())
        owner = attributes.row[where]
        quality[owner[own != 0]] |= own[own != 0]
        # Of a key that a span carries twice the first counts, so the last is placed first.
        place[owner[usable][::-1]] = (filled + np.flatnonzero(usable))[::-1]
        pieces.append(piece)
        filled += len(piece)
    if not pieces:
        return pa.nulls(rows, kind)
    return pa.concat_arrays(pieces).take(pa.array(place, mask=place < 0))


def _texts(values: pa.StructArray, quality: Flags) -> pa.StringArray:
    """Strings as they are, numbers and booleans as they are written; null for what is empty or nested."""
    texts = as_text(values.field("string_value"), quality)
    if texts.null_count:
        for name in ("int_value", "double_value", "bool_value"):
            texts = pc.coalesce(texts, values.field(name).cast(pa.string()))
    return pc.if_else(pc.equal(texts, _EMPTY), _NO_TEXT, texts)


def _counts(values: pa.StructArray) -> pa.Int64Array:
    """Integers, also those that came as text or as a whole double; null for anything else, and below zero."""
    counts = values.field("int_value")
    if counts.null_count:
        loose = zip(counts.to_pylist(), values.field("double_value").to_pylist(),
                    values.field("string_value").to_pylist(), strict=True)  # fmt: skip
        counts = pa.array([_whole(*candidates) for candidates in loose], pa.int64())
    return pc.if_else(pc.less(counts, _ZERO), _NO_COUNT, counts)


def _whole(integer: int | None, double: float | None, text: bytes | None) -> int | None:
    if integer is not None:
        return integer
    try:
        number = float(text) if text is not None else double
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() and abs(number) < _MAX_INT64 else None


def _translate(texts: pa.StringArray, values: dict[str, str]) -> pa.StringArray:
    known = pa.array(list(values), pa.string())
    return pa.array(list(values.values()), pa.string()).take(pc.index_in(texts, value_set=known))
