"""Attribute values as plain Python values, and texts as what they are the text of."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire import json_text
from agenttrace_core.wire.utf8 import bytes_of

LONGEST_REPR: Final = 128 << 10
"""Characters of a Python literal that is read: the reader takes some 50 bytes of memory for each."""

_OPENINGS: Final = frozenset('[{"(')
_UNTOLD: Final = re.compile(r"0[xXoObB][0-9a-fA-F_]{1024}")
"""An integer so long that Python reads it, and refuses to write it in decimal."""


def plain_attributes(pairs: Any) -> dict[str, Any]:
    """Return OTLP/JSON attributes by key; of a key that is there twice the first counts."""
    found: dict[str, Any] = {}
    for pair in pairs or ():
        found.setdefault(pair.get("key", ""), plain(pair.get("value")))
    return found


def plain(value: Mapping[str, Any] | None) -> Any:
    """Return an OTLP/JSON ``AnyValue`` as text, number, boolean, list or dict, at any depth; None for an empty one."""
    top: list[Any] = [None]
    waiting: list[tuple[Any, Any, Any]] = [(top, 0, value or {})]
    while waiting:
        container, place, given = waiting.pop()
        kind, inner = _kind(given)
        match kind:
            case "arrayValue":
                items = inner.get("values") or ()
                container[place] = made = [None] * len(items)
                waiting.extend((made, i, item or {}) for i, item in enumerate(items))
            case "kvlistValue":
                pairs: dict[str, Any] = {}
                container[place] = pairs
                listed = reversed(inner.get("values") or ())
                waiting.extend((pairs, pair.get("key", ""), pair.get("value") or {}) for pair in listed)
            case "intValue":
                container[place] = int(inner) if isinstance(inner, int | str) else inner
            case _:
                container[place] = inner
    return top[0]


def _kind(value: Mapping[str, Any]) -> tuple[str, Any]:
    return next(iter(value.items()), ("", None))


def parsed(text: str) -> Any:
    """Return the list, dict or text that ``text`` is JSON of, or Python's ``repr``; else None."""
    head = text[:64].lstrip()[:1]
    if head not in _OPENINGS or not head:
        return None
    try:
        value = json_text.loads(bytes_of(text))
    except InvalidInputError:
        value = _literal(text)
    return value if isinstance(value, list | dict | str) else None


def unfolded(value: Any) -> Any:
    """Return what a text holds, also where JSON was put into JSON twice; other values, and plain text, as they are."""
    for _ in range(3):
        inner = parsed(value) if isinstance(value, str) else None
        if inner is None:
            return value
        value = inner
    return value


def json_of(text: Any) -> Any:
    """Return the value of JSON text, also a number's; anything else as it is."""
    if not isinstance(text, str) or not text.strip():
        return text
    try:
        return json_text.loads(bytes_of(text))
    except InvalidInputError:
        literal = _literal(text)
        return text if literal is None else literal


def shown(value: Any) -> str:
    """Return a value as text: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json_text.dumps(value).decode()


def first(given: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """Return the value of the first of ``keys`` that has one which says something; else None."""
    for key in keys:
        value = given.get(key)
        if value is not None and value != "":
            return value
    return None


def first_text(given: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first of ``keys`` whose value is a text that is not empty, or a number."""
    for key in keys:
        value = given.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return None


def _literal(text: str) -> Any:
    text = text.strip()
    if len(text) > LONGEST_REPR or text[:1] not in _OPENINGS or "\0" in text or _UNTOLD.search(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about backslashes in a stranger's text
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return _as_json(value)


def _as_json(value: Any) -> Any:
    """Make what JSON has no word for into what it has: tuples and sets are lists, all else its ``repr``."""
    top = [value]
    waiting: list[Any] = [top]
    while waiting:
        container = waiting.pop()
        for place, item in list(enumerate(container) if isinstance(container, list) else container.items()):
            made = list(item) if isinstance(item, tuple | set | frozenset) else item
            if isinstance(made, dict):
                made = {key if isinstance(key, str) else repr(key): inner for key, inner in made.items()}
            elif not isinstance(made, list | str | int | float | type(None)):
                made = repr(made)
            container[place] = made
            if isinstance(made, list | dict):
                waiting.append(made)
    return top[0]
