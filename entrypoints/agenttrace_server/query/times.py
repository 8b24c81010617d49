"""Times and lengths of time as callers write them."""

from __future__ import annotations

import re

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Bucket, Interval
from agenttrace_core.query.buckets import check_bucket
from agenttrace_core.query.times import parse_time

CALENDAR = ("hour", "day", "week", "month")
_LENGTH = re.compile(r"([0-9]{1,9})(s|m|h|d|w)", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def instant(name: str, text: str | None) -> int | None:
    """Return a time in nanoseconds since the epoch; None where none, or an empty text, was given.

    Args:
        name: the parameter's, for the error.
        text: RFC 3339, or nanoseconds since the epoch as an integer.

    Raises:
        InvalidInputError: it is neither, or further away than 64 bits of nanoseconds reach.
    """
    if not text:
        return None
    # A "+" that was not escaped in a URL arrives as a space.
    ns = parse_time(text.replace(" ", "+"))
    if ns is None:
        raise InvalidInputError(
            f"{name}: {text[:40]!r} is not a time between the years 1678 and 2262: write RFC 3339, such as "
            "2026-01-31T09:30:00Z, or nanoseconds since the epoch"
        )
    return ns


def interval(start: str | None, end: str | None) -> Interval:
    """Return the interval from ``start`` until before ``end``; one that is not given is without a bound there.

    Raises:
        InvalidInputError: either is no time, or the end does not come after the start.
    """
    during = Interval(instant("start", start), instant("end", end))
    if during.start_ns is not None and during.end_ns is not None and during.end_ns <= during.start_ns:
        raise InvalidInputError("end: it must be later than start")
    return during


def bucket(text: str | None, timezone: str) -> Bucket | None:
    """Return the buckets that ``text`` asks for: a length such as ``1h``, or a unit of the calendar.

    Raises:
        InvalidInputError: it is neither, or ``timezone`` is not the name of one.
    """
    if not text:
        check_bucket(Bucket(unit="day", timezone=timezone))
        return None
    made = Bucket(unit=text, timezone=timezone) if text in CALENDAR else Bucket(_length(text), timezone=timezone)
    check_bucket(made)
    return made


def _length(text: str) -> int:
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise InvalidInputError(
            f"bucket: {text[:40]!r} is not a length of time such as 30s, 15m, 1h, 7d, nor one of {', '.join(CALENDAR)}"
        )
    return int(found[1]) * _UNIT_S[found[2]] * 10**9
