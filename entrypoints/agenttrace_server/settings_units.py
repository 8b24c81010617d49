"""Durations and sizes as people write them: ``"5s"``, ``"256MiB"``, or a plain number of seconds or bytes."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_duration(value: object) -> float:
    """Return seconds from ``"5s"``, ``"250ms"``, ``"1.5h"``, ``"7d"`` or a number of seconds.

    Raises:
        ValueError: it is none of these; the message shows what would be right.
    """
    number, unit = _quantity(value, "a duration such as 500ms, 5s, 10m, 2h or 7d")
    if unit and unit not in _SECONDS:
        raise ValueError(f"the unit {unit!r} is not one of {', '.join(_SECONDS)}")
    return number * _SECONDS[unit or "s"]


def parse_size(value: object) -> int:
    """Return bytes from ``"64MiB"``, ``"1.5GB"`` or a number of bytes.

    Raises:
        ValueError: it is none of these; the message shows what would be right.
    """
    number, unit = _quantity(value, "a size such as 512KiB, 64MiB or 2GiB")
    known = {name.lower(): factor for name, factor in _BYTES.items()}
    if unit and unit.lower() not in known:
        raise ValueError(f"the unit {unit!r} is not one of {', '.join(_BYTES)}")
    return round(number * known[(unit or "B").lower()])


def format_size(size: float) -> str:
    """Return bytes as people read them: ``"1.5 MiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size == int(size) else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_duration(seconds: float) -> str:
    """Return seconds as ``parse_duration`` reads them: ``"7d"``, ``"90s"``, ``"0.5s"``."""
    days, rest = divmod(seconds, _SECONDS["d"])
    if days and not rest:
        return f"{days:.0f}d"
    return f"{seconds:f}".rstrip("0").rstrip(".") + "s"


def _quantity(value: object, wanted: str) -> tuple[float, str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value), ""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"wanted is {wanted}")
    return float(match[1]), match[2]


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, once validated."""

Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes, once validated."""
