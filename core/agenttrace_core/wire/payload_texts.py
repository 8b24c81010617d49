"""What only a span's own bytes say, as text: for searches that light rows can't decide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.errors import CorruptionError
from agenttrace_core.model.algebra import Attribute
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.wire.json_write import attributes_json, resource_json, span_json
from agenttrace_core.wire.message import Json

_TEXTS = ("stringValue", "name", "message", "traceState", "key")
_DEEPEST = 64
_SCALARS = {"stringValue": str, "intValue": int, "doubleValue": float, "boolValue": bool, "bytesValue": str}


class SpanPayloads:
    """The payloads of rows; a ``Payloads`` of ``agenttrace_core.query.evaluate``.

    Bytes that are no span have no texts.

    Args:
        spans: the column ``span`` of ``PAYLOAD`` or ``ROWS``, as long as the rows; null where it was not fetched.
        resources: the column ``resource`` likewise.
    """

    def __init__(self, spans: pa.Array, resources: pa.Array) -> None:
        self._spans = spans
        self._resources = resources

    def contains(self, rows: Int64s, text: str) -> Bools:
        """Return which rows have ``text``, in lower case, in a text of their span: of its attributes, events, links."""
        found = [any(_holds(texts, text)) for texts in (_texts_of(span) for span in _taken(self._spans, rows))]
        return np.array(found, np.bool_)

    def attribute(self, rows: Int64s, key: Attribute) -> Sequence[str | None]:
        """Return an attribute of each row: texts as they are, other values as JSON, bytes in base64."""
        read = _resource_attributes if key.resource else _span_attributes
        return [
            _value_of(read(data), key.key) for data in _taken(self._resources if key.resource else self._spans, rows)
        ]


def texts_of(span: Any) -> Iterator[str]:
    """Yield all texts of a span in JSON: names, keys, messages, and texts at any depth of its attributes."""
    waiting = [span]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from (item[name] for name in _TEXTS if isinstance(item.get(name), str))
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _texts_of(data: bytes | None) -> list[str]:
    try:
        return [] if data is None else list(texts_of(span_json(data)))
    except CorruptionError:
        return []


def _holds(texts: list[str], sought: str) -> Iterator[bool]:
    if texts:
        clean = [text.encode(errors="replace").decode() for text in texts]
        yield bool(pc.any(pc.match_substring(pc.utf8_lower(pa.array(clean, pa.string())), sought)).as_py())


def _span_attributes(span: bytes | None) -> list[Json]:
    try:
        return [] if span is None else attributes_json(span)
    except CorruptionError:
        return []


def _resource_attributes(resource: bytes | None) -> list[Json]:
    try:
        found: list[Json] = resource_json(resource).get("attributes", [])
    except CorruptionError:
        return []
    return found


def _value_of(attributes: list[Json], key: str) -> str | None:
    for attribute in attributes:
        if attribute.get("key") == key:
            value = _plain(attribute.get("value", {}))
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return None


def _plain(value: Json, depth: int = 0) -> Any:
    """Return an OTLP value as plain JSON, to a bounded depth: a sender can nest without end."""
    for name, kind in _SCALARS.items():
        if name in value:
            return kind(value[name])
    if depth == _DEEPEST:
        return None
    if "arrayValue" in value:
        return [_plain(item, depth + 1) for item in value["arrayValue"].get("values", [])]
    pairs = value.get("kvlistValue", {}).get("values", [])
    return {pair.get("key", ""): _plain(pair.get("value", {}), depth + 1) for pair in pairs}


def _taken(column: pa.Array, rows: Int64s) -> list[bytes | None]:
    taken: list[bytes | None] = column.take(pa.array(rows)).to_pylist()
    return taken
