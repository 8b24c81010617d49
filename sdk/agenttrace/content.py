r"""Any value at all as the text of an attribute: bounded, and never an error.

Text stays as it is; everything else becomes JSON. What JSON has no form for (objects, cycles, what is nested too
deeply, numbers that are none) is written in a safe form in its place; lone surrogates, which no UTF-8 can hold, as
``\udXXX``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

_DEEPEST: Final = 24
_MOST_VALUES: Final = 20_000
_MOST_BITS: Final = 2_048
_REPR_CHARS: Final = 2_000
_CUT: Final = "… ({} characters more)"

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def as_text(value: Any, limit: int) -> str:
    """Return ``value`` as text of at most ``limit`` characters (and a note of how many were cut off).

    Never raises, whatever the value's own methods do, and copies no more of a long text than it keeps.
    """
    if type(value) is str:
        text = value
    else:
        try:
            text = _encode(_Plain(limit).plain(value, 0))
        except Exception as error:  # noqa: BLE001 - such as a class that cannot even say which it is
            text = f"({type(value).__name__}: {type(error).__name__} when it was read)"
    return clean(_cut(text, limit))


def as_name(value: Any, limit: int = 2_000) -> str:
    """Return ``value`` as text that can name something: as itself where it is text, else as its ``str``."""
    if type(value) is not str:
        try:
            value = str(value)
        except Exception:  # noqa: BLE001 - its own methods may raise anything, and this must not
            return as_text(value, limit)
    return clean(value if len(value) <= limit else _cut(value, limit))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + _CUT.format(len(text) - limit)


def clean(text: str) -> str:
    """Return ``text`` with lone surrogates written out, so that UTF-8 can hold it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


class _Plain:
    """Turns a value into what JSON knows, within a budget of values and of characters."""

    __slots__ = ("_above", "_chars", "_left")

    def __init__(self, chars: int) -> None:
        self._left = _MOST_VALUES
        self._chars = chars
        self._above: set[int] = set()

    def plain(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            self._chars -= len(value)
            return value if self._chars >= 0 else self._last(value)
        if kind is bool or value is None or (kind is int and value.bit_length() < _MOST_BITS):
            return value
        if kind is float and value - value == 0:  # neither infinite nor no number
            return value
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST or id(value) in self._above:
            return "(itself)" if id(value) in self._above else "…"
        self._above.add(id(value))
        try:
            return self._composed(value, depth + 1)
        except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything, and this must not
            return f"({kind.__name__}: {type(error).__name__} when it was read)"
        finally:
            self._above.discard(id(value))

    def _last(self, text: str) -> str:
        """What there is still room for of a text, and nothing of those that follow."""
        room, self._chars = max(0, self._chars + len(text)), 0
        if not room:
            self._left = -1
        return _cut(text, room)

    def _composed(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {self._key(key): self.plain(inner, depth) for key, inner in self._some(value.items())}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.plain(inner, depth) for inner in self._some(value)]
        if isinstance(value, Enum):
            return self.plain(value.value, depth)
        scalar = _scalar(value)
        return self._object(value, depth) if scalar is None else self.plain(scalar, depth)

    def _object(self, value: Any, depth: int) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value) if field.repr]
            return {name: self.plain(getattr(value, name, None), depth) for name in names}
        # A table or an array has a form of its own for people, and as a dictionary may be the whole of the memory.
        if not isinstance(value, type) and getattr(value, "shape", None) is None:
            for dump in ("model_dump", "to_dict"):  # pydantic; many clients
                method = getattr(value, dump, None)
                if callable(method):
                    return self.plain(method(), depth)
        shown = repr(value)
        return self.plain(shown if len(shown) <= _REPR_CHARS else shown[:_REPR_CHARS] + "…", depth)

    def _some(self, values: Iterable[Any]) -> Iterable[Any]:
        for number, value in enumerate(values):
            if self._left < 0:
                return
            self._left -= 1 if number else 0
            yield value

    @staticmethod
    def _key(key: Any) -> str:
        return _cut(key if type(key) is str else str(key), _REPR_CHARS)


def _scalar(value: Any) -> Any:
    """What a single value is in JSON; None if it is no single value."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"({len(value)} bytes)"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID, PurePath)):
        return str(value)
    # Of a subclass: as what it is made of.
    if isinstance(value, int):
        # Python refuses to write thousands of digits (they take quadratic time), but not in hexadecimal.
        return int(value) if value.bit_length() < _MOST_BITS else hex(value)
    if isinstance(value, (str, float)):
        return float(value) if isinstance(value, float) and math.isfinite(value) else str(value)
    # A number of numpy's: as Python's.
    return value.item() if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)) else None
