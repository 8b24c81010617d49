"""How often whoever reads the queue makes a chunk of what has come."""

from __future__ import annotations

_REST = 3
"""A chunk is made a third of the time at the most, unless more than fits into one is waiting. One costs as much as a
thousand spans in it, whatever is in it: where chunks take much of the time, fewer and larger ones take less."""
_LONGEST = 3
"""How much longer than they should be chunks may be apart for that."""


def pause_s(took_s: float, interval_s: float) -> float:
    """Return how long to wait after a chunk that took so long, where chunks are ``interval_s`` apart at the least."""
    return max(0.0, min(max(interval_s, _REST * took_s), _LONGEST * interval_s) - took_s)
