"""Attribute values into what a column holds: columns at once where they are plain, one by one where they are odd."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.schema.tables import MONEY
from agenttrace_core.wire.quality import Flags, as_text

_MOST = 10**12
"""No span has more tokens; a greater count is not one, and sums of any number of spans stay within 64 bits."""
_DAY_NS: Final = 86_400 * 10**9
"""No first chunk comes later; what says so has a wrong clock or unit."""
_PICO: Final = 10**12
_MOST_PICO_USD: Final = 10**18 - 1  # what MONEY holds
_NS: Final = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
_MOST_TAGS, _TAG_CHARACTERS = 64, 256

# Without a type pyarrow guesses one, and looks for pandas and dateutil on the disk each time.
_EMPTY, _NO_TEXT = pa.scalar("", pa.string()), pa.scalar(None, pa.string())
_NO_COUNT = pa.scalar(None, pa.int64())
_SCALARS: Final = ("string_value", "int_value", "double_value", "bool_value")


def texts(values: pa.StructArray, where: pa.Array, quality: Flags) -> pa.StringArray:
    """Strings as they are, numbers and booleans as JSON writes them; null for what is empty or nested."""
    found = as_text(values.field("string_value").take(where), quality)
    if found.null_count:
        for name in _SCALARS[1:]:
            found = pc.coalesce(found, values.field(name).take(where).cast(pa.string()))
    return pc.if_else(pc.equal(found, _EMPTY), _NO_TEXT, found)


def counts(values: pa.StructArray, where: pa.Array) -> pa.Int64Array:
    """Integers, also those that came as text or as a whole double; null for anything else, and below zero or absurd."""
    found = values.field("int_value").take(where)
    if found.null_count:
        found = pa.array([whole_number(value) for value in loose(values, where)], pa.int64())
    numbers = found.fill_null(0).to_numpy()
    odd = (numbers < 0) | (numbers > _MOST)
    return pc.if_else(pa.array(odd), _NO_COUNT, found) if odd.any() else found


def loose(values: pa.StructArray, where: pa.Array) -> list[Any]:
    """Return values one by one: text, int, float, bool, or None where they are nested."""
    columns = [values.field(name).take(where).to_pylist() for name in _SCALARS]
    return [
        text.decode("utf-8", "replace") if text is not None else next((v for v in others if v is not None), None)
        for text, *others in zip(*columns, strict=True)
    ]


def whole_number(value: Any) -> int | None:
    """Return a count; text and whole doubles are read, anything else, and what is below zero, is None."""
    if type(value) is int:
        return value if 0 <= value <= _MOST else None
    try:
        number = float(value) if type(value) in (str, float) else None
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() and 0 <= number <= _MOST else None


def pico_usd(value: Any) -> int | None:
    """Return dollars, a number or text, as integer of 1e-12 dollars; None below zero or above what ``MONEY`` holds."""
    try:
        number = float(value) if type(value) in (str, float, int) else math.nan
    except (ValueError, OverflowError):
        return None
    if not 0 <= number <= _MOST_PICO_USD / _PICO:
        return None
    return min(round(number * _PICO), _MOST_PICO_USD)


def money(amounts: Sequence[int | None]) -> pa.Array:
    """Return integers of 1e-12 dollars as ``MONEY``. None becomes null."""
    words = np.zeros((len(amounts), 2), np.int64)  # a decimal128 is two little-endian words
    words[:, 0] = [amount or 0 for amount in amounts]
    valid = pa.array([amount is not None for amount in amounts], pa.bool_())
    return pa.Array.from_buffers(MONEY, len(amounts), [valid.buffers()[1], pa.py_buffer(words)])


def nanoseconds(value: Any, unit: str, start_ns: int | None) -> int | None:
    """Return a duration; for ``time`` that from ``start_ns`` to an RFC 3339 time or to a number of its epoch."""
    if unit == "time":
        point = point_in_time(value)
        return None if point is None or start_ns is None or not 0 <= point - start_ns <= _DAY_NS else point - start_ns
    try:
        number = float(value) * _NS[unit] if type(value) in (str, float, int) else math.nan
    except (ValueError, OverflowError):
        return None
    return round(number) if 0 <= number <= _DAY_NS else None


_RFC3339: Final = re.compile(
    r'"?(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:?\d\d)?"?', re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def point_in_time(value: Any) -> int | None:
    """Return nanoseconds since the epoch of an RFC 3339 time, quoted or not (without a zone: UTC), or of a number."""
    if type(value) is int:
        return value if value > 10**17 else None
    match = _RFC3339.fullmatch(value) if type(value) is str else None
    if match is None:
        return None
    seconds, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    try:
        moment = datetime.fromisoformat(seconds.upper().replace(" ", "T") + zone)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(seconds=1) * 10**9 + int((fraction or "0").ljust(9, "0"))


def clean(text: str) -> str:
    """Return a text that columns can hold: without lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def tags(value: Any) -> list[str] | None:
    """Return tags: a list, JSON's form of one, or texts between commas. At most 64, of at most 256 characters."""
    items = value if isinstance(value, list) else value.split(",") if type(value) is str else [value]
    names = [clean(str(item).strip()[:_TAG_CHARACTERS]) for item in items if type(item) in (str, int, float, bool)]
    unique = list(dict.fromkeys(name for name in names if name))[:_MOST_TAGS]
    return unique or None


def translate(found: pa.StringArray, values: dict[str, str], *, other: bool) -> pa.StringArray:
    """Replace texts by what ``values`` says; those it does not name stay if ``other``, else become null."""
    known = pa.array(list(values), pa.string())
    meant = pa.array(list(values.values()), pa.string()).take(pc.index_in(found, value_set=known))
    return pc.coalesce(meant, found) if other else meant


def extract(found: pa.StringArray, pattern: str) -> pa.StringArray:
    """Return what the one group of ``pattern`` matches; null where it does not, or matches nothing."""
    named = pattern.replace("(?:", "\0").replace("(", "(?P<value>", 1).replace("\0", "(?:")
    value = pc.extract_regex(found, named).field("value")
    return pc.if_else(pc.equal(value, _EMPTY), _NO_TEXT, value)


SINGLE: Final[dict[str, Callable[..., Any]]] = {"count": whole_number, "money": pico_usd, "tags": tags}
"""How a single Python value becomes what a column of a type holds."""
