"""Text from strangers, made fit for a terminal. Span names may hold escape sequences, markup and newlines."""

from __future__ import annotations

import unicodedata
from decimal import Decimal

_MARKS = {"\n": "⏎", "\r": "␍", "\t": " "}
_ELLIPSIS = "…"


def plain(text: object, limit: int = 400) -> str:
    r"""Return ``text`` as one line without anything that a terminal would obey, at most ``limit`` characters.

    Control characters (C0, C1), and formats that reorder or hide text (bidi marks, zero-width
    characters except joiners, tags), become visible as ``\x1b`` or ``\u202e``.
    """
    shown = "".join(_visible(char) for char in str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + _ELLIPSIS


def _visible(char: str) -> str:
    if char in _MARKS:
        return _MARKS[char]
    # Cc controls, Cf formats, Cs lone surrogates, Zl and Zp line separators; U+200D joins emoji.
    if char.isprintable() or char == "\u200d":
        return char
    if unicodedata.category(char) == "Zs":
        return " "
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escaped(body: bytes) -> bytes:
    r"""Return a JSON text of one line that says the same, with escapes in place of what a terminal would obey."""
    return "".join(char if _visible(char) == char else _json_escape(char) for char in body.decode()).encode()


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def duration(nanoseconds: int | None) -> str:
    """Return a duration as people read it: ``"1.24 s"``; ``"-"`` if it is not known."""
    if nanoseconds is None:
        return "-"
    seconds = nanoseconds / 1e9
    size = abs(seconds)
    if size < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if size < 1:
        return f"{seconds * 1e3:.0f} ms"
    if size < 120:
        return f"{seconds:.2f} s"
    if size < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def count(number: int | None) -> str:
    """Return a whole number with its thousands apart; empty if there is none."""
    return f"{number:,}" if number else ""


def amount(number: float | None) -> str:
    """Return a number in few characters: ``"12,345"``, ``"1.23M"``; empty if there is none."""
    if not number:
        return ""
    size = abs(number)
    if size < 1_000_000:
        return f"{number:,.0f}"
    return f"{number / 1e6:,.2f}M" if size < 1e9 else f"{number / 1e9:,.2f}G"


def dollars(text: str | None) -> str:
    """Return an amount of dollars, given as the API writes it, to about three digits: ``"$0.0123"``, ``"$4.56"``."""
    if not text:
        return ""
    value = Decimal(text)
    size = abs(value)
    if size == 0:
        return "$0"
    if size >= 1:
        return f"${value:,.2f}" if size < 10_000 else f"${value:,.0f}"
    places = min(12, 2 - size.adjusted())
    return f"${value:.{places}f}"
