"""Why a span failed: its exception's type, and its message with what varies taken out, by which failures group."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from agenttrace_core.normalise import nested
from agenttrace_core.normalise.values import clean

_MOST_READ: Final = 2_000
_MOST_KEPT: Final = 200

_VARYING: Final = (
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>]+", re.IGNORECASE), "<url>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"'[^'\n]{1,400}'(?!\w)|\"[^\"\n]{1,400}\"|`[^`\n]{1,400}`"), "<text>"),
    (re.compile(r"(?<![\w/.])(?:[A-Za-z]:\\|~?/)[\w.@~+-]+(?:[/\\][\w.@~+-]+)*[/\\]?"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{6,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\b(?=\w*\d)(?=\w*[a-zA-Z])\w{16,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)
"""What varies from one failure of a kind to the next, in the order in which it is taken out."""


def kind_of(message: str) -> str | None:
    """Return what is the same in all messages of a kind, at most 200 characters; None of a blank one."""
    text = message[:_MOST_READ]
    for pattern, placeholder in _VARYING:
        text = pattern.sub(placeholder, text)
    return clean(text.strip()[:_MOST_KEPT]) or None


def failures(failed: np.ndarray[Any, np.dtype[np.bool_]], raw: pa.BinaryArray) -> tuple[pa.Array, pa.Array]:
    """Return the type of each failed span's exception, and the kind of its message; null for all others.

    A span's last exception is the one that it failed with. Without one the status tells, if it does.
    """
    rows = len(failed)
    if not failed.any():
        return pa.nulls(rows, pa.string()), pa.nulls(rows, pa.string())
    where = np.flatnonzero(failed)
    found = [_failure(nested.span_of(data)) for data in raw.take(pa.array(where)).to_pylist()]
    place = np.full(rows, -1, np.int64)
    place[where] = np.arange(len(where))
    index = pa.array(place, mask=place < 0)
    types, kinds = (pa.array(column, pa.string()).take(index) for column in zip(*found, strict=True))
    return types, kinds


def _failure(span: Any) -> tuple[str | None, str | None]:
    exceptions = list(_exceptions(span))
    kind = next((kind for kind, _ in reversed(exceptions) if kind), None)
    said = next((message for _, message in reversed(exceptions) if message), None)
    status = span.status.message.decode("utf-8", "replace")
    return kind and clean(kind[:_MOST_KEPT]), kind_of(said or status)


def _exceptions(span: Any) -> Iterator[tuple[str | None, str | None]]:
    for event in span.events:
        if event.name == b"exception" or event.name.startswith(b"gen_ai.client.operation.exception"):
            values = (nested.value_of(event.attributes, f"exception.{name}") for name in ("type", "message"))
            kind, message = (value if isinstance(value, str) else None for value in values)
            yield kind, message
