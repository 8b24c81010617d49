"""A trace's payload as OTLP/JSON, read and written a few megabytes at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pyarrow as pa
from anyio import to_thread

from agenttrace_core.ports.index import Location, SpanIndex, View
from agenttrace_core.wire.json_write import resource_json, scope_json, span_json, trace_json
from agenttrace_core.wire.message import Json
from agenttrace_core.wire.utf8 import text_of

_HEAD, _TAIL = b'{"resourceSpans":[', b"]}"
_FIRST_ROWS = 16
_MOST_ROWS = 2_048
_PIECE_BYTES = 4 << 20
_INLINE_BYTES = 128 << 10


def located(rows: pa.Table) -> list[Location]:
    """Return where rows are that hold the columns of ``LOCATION``."""
    return [Location(*place) for place in zip(rows["source"].to_pylist(), rows["row"].to_pylist(), strict=True)]


async def trace_pieces(index: SpanIndex, view: View, rows: pa.Table) -> AsyncIterator[bytes]:
    """Write the payload of ``rows`` (with ``LOCATION``, in the order wanted) as one OTLP/JSON request."""
    yield _HEAD
    first, count = 0, _FIRST_ROWS
    while first < len(rows):
        payload = await index.payload(view, located(rows.slice(first, count)))
        size = sum(column.nbytes for column in payload.columns)
        written = trace_json(payload) if size <= _INLINE_BYTES else await to_thread.run_sync(trace_json, payload)
        yield (b"," if first else b"") + written.removeprefix(_HEAD).removesuffix(_TAIL)
        first += count
        # Spans differ a thousandfold in size; those of one trace are much alike.
        count = max(1, min(_MOST_ROWS, 4 * count, _PIECE_BYTES * count // max(size, 1)))
    yield _TAIL


def span_messages(payload: pa.Table) -> list[tuple[Json, Json, str, Json, str]]:
    """Return, for each row of ``PAYLOAD``: span, resource, its schema URL, scope, its schema URL."""
    return [
        (
            span_json(row["span"]),
            resource_json(row["resource"]),
            text_of(row["resource_schema_url"] or b""),
            scope_json(row["scope_message"]),
            text_of(row["scope_schema_url"] or b""),
        )
        for row in payload.to_pylist()
    ]
