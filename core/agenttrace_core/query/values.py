"""The values of fields, read off light rows: texts, numbers, lists and attributes as columns."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Attribute, Field, Score
from agenttrace_core.model.span import UNENDED, Quality
from agenttrace_core.model.trace import TraceState
from agenttrace_core.query.fields import RESOURCE, FieldInfo, FieldType, Form, info_of
from agenttrace_core.schema.arrays import Bools, Int64s, whole
from agenttrace_core.schema.usage import pico_usd

FLAGS = pa.array([str(flag.name).lower() for flag in Quality])
"""The names of the bits of ``quality``, from the lowest."""
BITS = np.array([int(flag) for flag in Quality], np.uint16)

PICO = 10**12
_LARGE = 1 << 61
# Beyond every column, and between any two values of one: not to be written out digit by digit.
_BEYOND, _BELOW = Decimal("1e40"), Decimal("1e-40")


def columns_of(field: Field) -> tuple[str, ...]:
    """Return the columns of ``LIGHT`` that a field is read from."""
    if isinstance(field, Attribute):
        return ("attributes",)
    info = info_of(field)
    return info.columns if info else ("trace_id", "span_id")


def texts_of(rows: pa.Table, info: FieldInfo) -> pa.Array:
    """Return the values of a field whose values are texts; null where a row has none."""
    if info.form is Form.STATE:
        running = (whole(rows["quality"]).to_numpy() & np.uint16(UNENDED)) != 0
        return pc.if_else(pa.array(running), TraceState.RUNNING.value, TraceState.COMPLETE.value)
    columns = [whole(rows[name]) for name in info.columns]
    return columns[0] if len(columns) == 1 else pc.coalesce(columns[0], *columns[1:])


def numbers_of(rows: pa.Table, info: FieldInfo) -> tuple[np.ndarray[Any, Any], Bools]:
    """Return the values of a field whose values are numbers, as integers, and which rows have one.

    Money is in 1e-12 dollars, durations and times in nanoseconds. What 64 bits might not hold is in Python's integers.
    """
    if info.form is Form.SUM:
        return _sum(rows, info.columns)
    column = texts_of(rows, info)
    valid = np.asarray(column.is_valid())
    if info.type is FieldType.MONEY:
        return pico_usd(column), valid
    return column.fill_null(0).to_numpy(), valid


def flags_of(rows: pa.Table, chosen: Bools) -> Bools:
    """Return which rows have one of the ``chosen`` bits of quality."""
    mask = np.bitwise_or.reduce(BITS[chosen], initial=np.uint16(0))
    found: Bools = (whole(rows["quality"]).to_numpy() & mask) != 0
    return found


def attribute_texts(rows: pa.Table, key: Attribute) -> tuple[Bools, pa.Array]:
    """Return which rows have an attribute, and its text: null without one, or where the payload alone has it."""
    keys, values, row_of = _entries(rows)
    wanted = RESOURCE + key.key if key.resource else key.key
    found = np.flatnonzero(np.asarray(pc.equal(keys, wanted)))
    place = np.full(len(rows), -1, np.int64)
    # Backwards, so that the first of several of one name is the one that stays.
    place[row_of[found][::-1]] = found[::-1]
    has = place >= 0
    return has, values.take(pa.array(np.where(has, place, 0), mask=~has))


def attribute_values(rows: pa.Table) -> tuple[pa.Array, Int64s]:
    """Return the values of all attributes end to end, and the row that each is of."""
    _, values, row_of = _entries(rows)
    return values, row_of


def list_values(rows: pa.Table, info: FieldInfo) -> tuple[pa.Array, Int64s]:
    """Return the texts of a field whose values are lists end to end, and the row that each is of."""
    lists = whole(rows[info.columns[0]])
    return lists.flatten(), np.asarray(pc.list_parent_indices(lists)).astype(np.int64)


def keys_of(rows: pa.Table, field: Field) -> pa.Array:
    """Return the values of a field as texts by which rows are grouped, or found to agree; null where there is none.

    Raises:
        InvalidInputError: a score is asked for, of which a span can have many.
    """
    if isinstance(field, Score):
        raise InvalidInputError(
            f"score.{field.name[:60]}: spans can't be compared by a score, of which one can have many"
        )
    if isinstance(field, Attribute):
        return attribute_texts(rows, field)[1]
    info = info_of(field)
    assert info is not None, "only attributes and scores are unknown"
    if info.type is FieldType.LIST:
        return _joined(rows, info)
    if info.type.ordered:
        numbers, valid = numbers_of(rows, info)
        return pa.array([str(n) if ok else None for n, ok in zip(numbers.tolist(), valid, strict=True)], pa.string())
    return texts_of(rows, info).cast(pa.string())


def group_keys(rows: pa.Table, field: Field) -> list[list[str | None]]:
    """Return for each row the texts of a field that it is grouped by: one, or as many as its list has; or None.

    Raises:
        InvalidInputError: a score is asked for.
    """
    info = info_of(field)
    if info is None or info.type is not FieldType.LIST:
        return [[key] for key in keys_of(rows, field).to_pylist()]
    lists = _flags(rows) if info.form is Form.FLAGS else rows[info.columns[0]].to_pylist()
    return [list(dict.fromkeys(texts or ())) or [None] for texts in lists]


def exact(value: int | Decimal, *, money: bool) -> tuple[int, bool]:
    """Return a number that a column is compared with as an integer, rounded down, and whether it is exactly that."""
    size = Decimal(value).copy_abs()
    if size >= _BEYOND:
        return (int(_BEYOND) if value > 0 else -int(_BEYOND)) * PICO, True
    if 0 < size < _BELOW:
        return (0 if value > 0 else -1), False
    scaled = Fraction(value) * (PICO if money else 1)
    return math.floor(scaled), scaled.denominator == 1


def _entries(rows: pa.Table) -> tuple[pa.Array, pa.Array, Int64s]:
    maps = whole(rows["attributes"])
    offsets = np.asarray(maps.offsets).astype(np.int64)
    first, last = (int(offsets[0]), int(offsets[-1])) if len(maps) else (0, 0)
    row_of = np.repeat(np.arange(len(maps)), np.diff(offsets)) if len(maps) else np.zeros(0, np.int64)
    return maps.keys.slice(first, last - first), maps.items.slice(first, last - first), row_of


def _sum(rows: pa.Table, names: tuple[str, ...]) -> tuple[np.ndarray[Any, Any], Bools]:
    columns = [whole(rows[name]) for name in names]
    numbers = [column.fill_null(0).to_numpy() for column in columns]
    valid: Bools = np.logical_or.reduce([np.asarray(column.is_valid()) for column in columns])
    if any(len(n) and max(abs(int(n.max())), abs(int(n.min()))) > _LARGE for n in numbers):
        numbers = [n.astype(object) for n in numbers]
    return np.add.reduce(numbers), valid


def _flags(rows: pa.Table) -> list[list[str]]:
    names = dict(zip(BITS.tolist(), FLAGS.to_pylist(), strict=True))
    return [[name for bit, name in names.items() if quality & bit] for quality in rows["quality"].to_pylist()]


def _joined(rows: pa.Table, info: FieldInfo) -> pa.Array:
    if info.form is Form.FLAGS:
        return whole(rows["quality"]).cast(pa.string())
    texts = [None if not tags else "\0".join(map(str, tags)) for tags in rows[info.columns[0]].to_pylist()]
    return pa.array(texts, pa.string())
