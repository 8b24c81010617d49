"""What is wrong with one field of a JSON document, and the path to it."""

from __future__ import annotations

import json


class WrongFieldError(ValueError):
    """A value that its field cannot hold. Each level that it passes on its way out puts its step in front.

    Text of it: ``attributes[3].value.intValue: "abc" is not an integer``.
    """

    def __init__(self, problem: str, *path: str | int) -> None:
        """``path`` leads to the value, outermost step first: names, and indexes of arrays."""
        super().__init__(problem)
        self.problem = problem
        self.path = path

    def under(self, *steps: str | int) -> WrongFieldError:
        """Return the same problem, seen from further out."""
        return WrongFieldError(self.problem, *steps, *self.path)

    def __str__(self) -> str:
        """Return the path, a colon, and the problem."""
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"{path.removeprefix('.')}: {self.problem}" if path else self.problem


def shown(value: object) -> str:
    """Return a JSON value in at most some 50 characters, for a message."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str) and len(value) > 40:
        return f"{json.dumps(value[:40])}…"
    text = json.dumps(value)
    return text if len(text) <= 260 else f"{text[:40]}…"


def not_a(wanted: str, value: object) -> WrongFieldError:
    """Say that ``value`` is not ``wanted`` (``an array``, ``32 hex digits``)."""
    return WrongFieldError(f"{shown(value)} is not {wanted}")
