"""What columns do not hold: arrays and objects as attributes, JSON in texts, events. For the few rows that need it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final

import orjson

from agenttrace_core.wire import otlp
from agenttrace_core.wire.any_value import decode_any_value
from agenttrace_core.wire.utf8 import text_of

MOST_JSON_BYTES: Final = 1 << 20
"""A longer text is not parsed for what may lie in it."""
_MOST_REPR_BYTES: Final = 16_384

_Span: Any = otlp.message_class("Span")
_Resource: Any = otlp.message_class("Resource")


def span_of(data: bytes) -> Any:
    """Parse a span as received; the door let it in, so that it parses."""
    return _Span.FromString(data)


def resource_of(data: bytes) -> Any:
    """Parse a resource as received."""
    return _Resource.FromString(data)


def value_of(attributes: Any, key: str) -> object:
    """Return the first value of ``key`` as Python objects; None where there is none, or it is empty."""
    wanted = key.encode()
    for pair in attributes:
        if pair.key == wanted:
            return plain(decode_any_value(pair.value.SerializeToString()))
    return None


def plain(value: dict[str, Any]) -> Any:
    """Return OTLP/JSON's ``AnyValue`` as what it means: texts, numbers, lists and dicts, without recursion."""
    top: list[Any] = [None]
    waiting: list[tuple[Any, Any, dict[str, Any]]] = [(top, 0, value)]
    while waiting:
        target, place, inner = waiting.pop()
        kind, content = next(iter(inner.items()), ("", None))
        made: Any = content
        if kind == "arrayValue":
            members = list(enumerate(inner[kind]["values"]))
            made = [None] * len(members)
            waiting.extend((made, i, item) for i, item in members)
        elif kind == "kvlistValue":
            made = {}
            waiting.extend((made, pair["key"], pair.get("value", {})) for pair in reversed(inner[kind]["values"]))
        elif kind == "intValue":
            made = int(inner[kind])
        target[place] = made
    return top[0]


def parse(text: bytes) -> Any:
    """Return what a text holds as JSON, or as Python writes it (``repr``); None for anything else."""
    if len(text) > MOST_JSON_BYTES or not text:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _python(text)
    return parse(value.encode()) if type(value) is str and value[:1] in ("{", "[") else value


def _python(text: bytes) -> Any:
    if len(text) > _MOST_REPR_BYTES or text[:1] not in (b"{", b"["):
        return None
    try:
        return ast.literal_eval(text_of(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def step_into(value: Any, path: tuple[str, ...]) -> Any:
    """Return what lies at ``path``, or None. A key that has dots of its own is found as well."""
    for number, step in enumerate(path):
        if not isinstance(value, dict):
            return None
        if step not in value:
            return value.get(".".join(path[number:]))
        value = value[step]
    return value


def numbers_in(value: Any) -> Iterator[float | int]:
    """Yield the numbers of an object's members, those that are written as texts as well."""
    if isinstance(value, dict):
        for member in value.values():
            if type(member) in (int, float):
                yield member
