"""What is wrong in a query, shown where it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from agenttrace_core.errors import QueryError

_AROUND = 60
_WIDE = frozenset("WF")


def query_error(text: str, position: int, problem: str, *, length: int = 1, note: str = "") -> QueryError:
    """Return an error whose message is the problem, the text's line with carets below the place, and a note.

    Args:
        text: the whole query.
        position: of the first wrong character; ``len(text)`` where something is missing at the end.
        problem: one line: what is wrong, and what would be right.
        length: how many characters are wrong.
        note: what else helps, below the place.
    """
    before, after = text[:position], text[position:]
    line_start = before.rfind("\n") + 1
    left = before[line_start:]
    right = after.split("\n", 1)[0]
    left, right = _cut(left, right)
    carets = "^" * max(1, _width(_shown(right[:length])))
    lines = [problem, f"  {_shown(left + right)}", f"  {' ' * _width(_shown(left))}{carets}"]
    return QueryError("\n".join([*lines, note] if note else lines), problem=problem, position=position)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` for the known word most like ``word``, or nothing where none is."""
    close = get_close_matches(word[:64].lower(), list(known), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""


def shown(word: str, limit: int = 60) -> str:
    """Return a piece of a query as it may stand in a message: on one line, short, in quotes."""
    word = _shown(word)
    return f"'{word}'" if len(word) <= limit else f"'{word[:limit]}…'"


def _cut(left: str, right: str) -> tuple[str, str]:
    left = left if len(left) <= _AROUND else f"…{left[-_AROUND:]}"
    return left, right if len(right) <= _AROUND else f"{right[:_AROUND]}…"


def _shown(text: str) -> str:
    """Return text without what would move a terminal's cursor or be cut by it."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in _WIDE else 1 for c in text)
