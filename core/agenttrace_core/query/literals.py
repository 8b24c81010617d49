"""Values as people write them (1.5s, $0.05, 10k, 2026-01-31T12:00Z), by the type of their field."""

from __future__ import annotations

import re
from decimal import Decimal

from agenttrace_core.model.algebra import Value
from agenttrace_core.query.fields import FieldType
from agenttrace_core.query.times import format_time, parse_time

NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
"""What an attribute's text, or a value it is compared with, is when it is a number. Of RE2; of the whole text."""

UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
    "d": 86400 * 1_000_000_000,
}
MULTIPLES = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}

_MOST_INTEGER = (1 << 63) - 1
_MOST_USD = 9_000_000
_PLACES = 12
_LONGEST = 64
_SMALLEST, _GREATEST = Decimal("1e-300"), Decimal("1e300")
_PLAIN = r"[0-9]+(?:\.[0-9]+)?"
_NUMBER = re.compile(NUMBER)
_COUNT = re.compile(rf"([+-]?{_PLAIN})([kKmMbB]?)")
_DURATION = re.compile(rf"([+-]?)((?:{_PLAIN}(?:ns|us|µs|μs|ms|s|m|h|d))+|0)")
_DURATION_PART = re.compile(rf"({_PLAIN})(ns|us|µs|μs|ms|s|m|h|d)")
_MONEY = re.compile(rf"([+-]?)\$?({_PLAIN})")

EXAMPLES = {
    FieldType.INTEGER: "a whole number, such as 250 or 10k",
    FieldType.DURATION: "a duration with its unit (ns us ms s m h d), such as 150ms or 1.5h",
    FieldType.MONEY: "an amount of US dollars, such as 0.05 or $2",
    FieldType.BOOLEAN: "true or false",
    FieldType.TIME: "a time, such as 2026-01-31 or 2026-01-31T12:00:00Z",
}
"""What a value of each type looks like, for messages."""


def parse_literal(kind: FieldType, text: str) -> Value | None:
    """Return a value of a type that is not text; None if the text is none, or one out of bounds."""
    if len(text) > _LONGEST:
        return None
    parser = _PARSERS[kind]
    return parser(text)


def number_of(text: str) -> Decimal | None:
    """Return the number that a text is, if it is one and of a size that a double can hold."""
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    if not number:
        return Decimal(0)
    return number if _SMALLEST <= abs(number) <= _GREATEST else None


def format_value(kind: FieldType | None, value: Value) -> str:
    """Return a value as ``parse_literal`` reads it; of an attribute (``kind`` None), a number as ``number_of`` does.

    Texts are not written here: how they are quoted is the language's.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind is FieldType.DURATION and isinstance(value, int):
        return _format_duration(value)
    if kind is FieldType.TIME and isinstance(value, int):
        return format_time(value)
    return f"{value:f}" if kind is FieldType.MONEY else str(value)


def _integer(text: str) -> int | None:
    found = _COUNT.fullmatch(text)
    return _whole(Decimal(found[1]) * MULTIPLES[found[2].lower()]) if found else None


def _duration(text: str) -> int | None:
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    parts = _DURATION_PART.findall(found[2])
    ns = sum((Decimal(amount) * UNIT_NS[unit.replace("μ", "µ")] for amount, unit in parts), Decimal(0))
    return _whole(-ns if found[1] == "-" else ns)


def _money(text: str) -> Decimal | None:
    found = _MONEY.fullmatch(text)
    if found is None:
        return None
    usd = Decimal(found[1] + found[2])
    places = -int(usd.normalize().as_tuple().exponent)
    return usd if abs(usd) <= _MOST_USD and places <= _PLACES else None


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _whole(number: Decimal) -> int | None:
    if abs(number) > _MOST_INTEGER or number != number.to_integral_value():
        return None
    return int(number)


def _format_duration(ns: int) -> str:
    """The greatest unit of which it is a whole number."""
    if ns == 0:
        return "0"
    unit = max((u for u, size in UNIT_NS.items() if ns % size == 0), key=UNIT_NS.__getitem__)
    return f"{ns // UNIT_NS[unit]}{'us' if unit == 'µs' else unit}"


_PARSERS = {
    FieldType.INTEGER: _integer,
    FieldType.DURATION: _duration,
    FieldType.MONEY: _money,
    FieldType.BOOLEAN: _boolean,
    FieldType.TIME: parse_time,
}
