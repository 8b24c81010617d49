"""Intervals of time that rows are grouped by: cut at midnight of a time zone, whatever its clock does.

Every bucket is ``edges[i] <= t < edges[i + 1]``, so that rows find theirs by search among a few numbers,
in any engine alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Bucket
from agenttrace_core.schema.arrays import Int64s

MAX_BUCKETS = 10_000
"""Of one answer."""

DAY_NS = 86_400_000_000_000
_HOUR_NS = DAY_NS // 24
_EPOCH = date(1970, 1, 1)
_UNITS = ("hour", "day", "week", "month")
_TOO_MANY = f"the time asked has more than {MAX_BUCKETS:,} buckets: ask for a shorter time, or wider buckets"


def check_bucket(bucket: Bucket) -> None:
    """Check a bucket's length and time zone.

    Raises:
        InvalidInputError: it has no length or two, an unknown unit, or a time zone that is none.
    """
    if (bucket.ns is None) == (bucket.unit is None):
        raise InvalidInputError("bucket: give a length or a unit, one of the two")
    if bucket.unit is not None and bucket.unit not in _UNITS:
        raise InvalidInputError(f"bucket: {bucket.unit[:40]!r} is no unit; write one of {', '.join(_UNITS)}")
    if bucket.ns is not None and bucket.ns <= 0:
        raise InvalidInputError("bucket: its length must be greater than zero")
    if bucket.ns is not None and bucket.ns > DAY_NS and bucket.ns % DAY_NS:
        raise InvalidInputError("bucket: one that is longer than a day must be whole days")
    _zone(bucket.timezone)


def bucket_edges(bucket: Bucket, first_ns: int, last_ns: int) -> Int64s:
    """Return the edges of the buckets from the one that holds ``first_ns`` to the one that holds ``last_ns``.

    One more edge than buckets, ascending; times are nanoseconds since the epoch.

    Raises:
        InvalidInputError: as ``check_bucket``, or there are more than ``MAX_BUCKETS``.
    """
    check_bucket(bucket)
    edges: list[int] = []
    try:
        for edge in _edges(bucket, first_ns, last_ns):
            edges.append(edge)
            if len(edges) > MAX_BUCKETS + 1:
                raise InvalidInputError(_TOO_MANY)
        return np.array(edges, np.int64)
    except (OverflowError, ValueError) as error:
        raise InvalidInputError("the time asked must lie within the years 1678 and 2261") from error


def floor_to(times: Int64s, edges: Int64s) -> Int64s:
    """Return the edge at or before each of ``times``, which lie within ``edges``."""
    floored: Int64s = edges[edges.searchsorted(times, side="right") - 1]
    return floored


def uniform_ns(edges: Int64s) -> int | None:
    """Return the length of the buckets where all have the same, else None."""
    lengths = np.diff(edges)
    return int(lengths[0]) if len(lengths) and bool((lengths == lengths[0]).all()) else None


def _edges(bucket: Bucket, first_ns: int, last_ns: int) -> Iterator[int]:
    """Yield ascending edges: the last that is at most ``first_ns``, and on to the first after ``last_ns``."""
    zone = _zone(bucket.timezone)
    within = bucket.ns if bucket.ns is not None and bucket.ns < DAY_NS else _HOUR_NS if bucket.unit == "hour" else None
    # A day earlier than need be: whatever the zone, the first edge is not after the first time.
    day = _day_of(first_ns, zone) - timedelta(days=1)
    previous: int | None = None
    for start, stop in _spans(bucket, day, zone):
        # Within a day, buckets are cut by elapsed time: a day of 23 hours has 23 of an hour.
        ns = within or stop - start
        begin = start if first_ns < start else start + max(0, (min(first_ns, stop) - start) // ns * ns)
        for edge in range(begin, stop, ns):
            if edge > last_ns:
                yield from () if previous is None else (previous,)
                yield edge
                return
            if edge > first_ns and previous is not None:
                yield previous
            previous = edge


def _spans(bucket: Bucket, day: date, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    """Yield the calendar's pieces, as (start, end), from the one that holds ``day`` on."""
    start = _piece_of(bucket, day)
    while True:
        following = _next_piece(bucket, start)
        yield _midnight(start, zone), _midnight(following, zone)
        start = following


def _piece_of(bucket: Bucket, day: date) -> date:
    if bucket.unit == "month":
        return day.replace(day=1)
    if bucket.unit == "week":
        return day - timedelta(days=day.weekday())
    return day - timedelta(days=(day - _EPOCH).days % _days(bucket))


def _next_piece(bucket: Bucket, start: date) -> date:
    if bucket.unit == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=7 if bucket.unit == "week" else _days(bucket))


def _days(bucket: Bucket) -> int:
    return 1 if bucket.ns is None else max(1, bucket.ns // DAY_NS)


def _midnight(day: date, zone: ZoneInfo) -> int:
    # Where the clock leaps over midnight, this is the moment of the leap.
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round(local.timestamp()) * 1_000_000_000


def _day_of(time_ns: int, zone: ZoneInfo) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // 1_000_000_000)).astimezone(zone).date()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise InvalidInputError(f"timezone: {name[:60]!r} is not one; write UTC or Europe/Berlin") from error
