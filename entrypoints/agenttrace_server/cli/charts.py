"""Small charts out of characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_LEVELS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
NOTHING = "·"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Return values as one line of at most ``width`` characters, a dot where there is none.

    Of more values than characters, each character shows the greatest of its share.
    """
    shares = _shares(values, width)
    most = max((value for value in shares if value is not None), default=0.0)
    return "".join(_level(value, most) for value in shares)


def bar(value: float | None, most: float, width: int) -> str:
    """Return a bar of at most ``width`` characters, as long as ``value`` is of ``most``, to the eighth."""
    if not value or most <= 0 or value < 0:
        return ""
    eighths = max(1, round(value / most * width * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _shares(values: Sequence[float | None], width: int) -> list[float | None]:
    if len(values) <= width:
        return list(values)
    cuts = [round(i * len(values) / width) for i in range(width + 1)]
    shares = [values[first:stop] for first, stop in pairwise(cuts)]
    return [max((v for v in share if v is not None), default=None) for share in shares]


def _level(value: float | None, most: float) -> str:
    if value is None:
        return NOTHING
    if most <= 0 or value <= 0:
        return _LEVELS[0]
    return _LEVELS[min(len(_LEVELS) - 1, int(value / most * len(_LEVELS)))]
