"""Moments as people write them: RFC 3339, or nanoseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_NS = 1_000_000_000
_LIMIT = 1 << 63
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> int | None:
    """Return nanoseconds since the epoch; None if the text is no moment, or one that 64 bits can't hold.

    RFC 3339, with the time, the seconds or the zone left out where they are 0 or UTC; or an integer of nanoseconds.
    """
    if _INTEGER.fullmatch(text):
        ns = int(text)
        return ns if -_LIMIT <= ns < _LIMIT else None
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    date, minutes, seconds, fraction, zone = found.groups()
    zone = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{date}T{minutes or '00:00'}:{seconds or '00'}{zone}")
        whole_s = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    ns = whole_s * _NS + int((fraction or "").ljust(9, "0"))
    return ns if -_LIMIT <= ns < _LIMIT else None


def format_time(ns: int) -> str:
    """Return a moment as RFC 3339 in UTC. The inverse of ``parse_time``."""
    seconds, fraction = divmod(ns, _NS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z" if fraction else f"{text}Z"
