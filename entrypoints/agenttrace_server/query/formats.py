"""Rows in the form that the caller asks for: JSON, NDJSON, an Arrow stream, or Parquet.

Whoever asks by ``format=`` or by the header ``Accept`` gets the same rows. In JSON they stand in an
object with what else is to be said; the other forms hold rows alone, and the rest is in headers:
``agenttrace-next-cursor``, ``agenttrace-partial``, ``agenttrace-lag-bytes`` or ``agenttrace-lag-records``, and
``agenttrace-damaged``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import Depends, Header, Query
from fastapi.responses import Response

from agenttrace_core.services.view import Lag
from agenttrace_core.wire import json_text


class Format(StrEnum):
    """How rows can be written."""

    JSON = "json"
    NDJSON = "ndjson"
    ARROW = "arrow"
    PARQUET = "parquet"


MEDIA_TYPES: Mapping[Format, str] = {
    Format.JSON: "application/json",
    Format.NDJSON: "application/x-ndjson",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.PARQUET: "application/vnd.apache.parquet",
}
"""The media type of each, as IANA has them registered; NDJSON has none, and goes by this one."""

_BY_MEDIA_TYPE = {media_type: each for each, media_type in MEDIA_TYPES.items()} | {"application/jsonl": Format.NDJSON}
NEXT_CURSOR, PARTIAL = "agenttrace-next-cursor", "agenttrace-partial"
LAG_BYTES, LAG_RECORDS = "agenttrace-lag-bytes", "agenttrace-lag-records"
DAMAGED = "agenttrace-damaged"
_NAMED = 50


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer.

    Attributes:
        table: the rows. Money is decimal, times are integers of nanoseconds.
        name: what JSON calls them.
        lag: whether all that was acknowledged is in them.
        next_cursor: where to go on; None at the end, and where there are no pages (``paged`` false).
        extra: what else JSON says.
    """

    table: pa.Table
    name: str
    lag: Lag
    next_cursor: str | None = None
    paged: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)


async def _wanted(
    wanted: Annotated[Format | None, Query(alias="format", description="How rows are written; else by Accept")] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Format:
    return wanted or accepted(accept or "")


WantedFormat = Annotated[Format, Depends(_wanted)]
"""What a route takes to know how to write its rows."""


def accepted(accept: str) -> Format:
    """Return the form that a header ``Accept`` likes best; JSON where it names none that there is."""
    ranked: list[tuple[float, int, Format]] = []
    for number, part in enumerate(accept.lower().split(",")[:32]):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        if media_type in _BY_MEDIA_TYPE:
            ranked.append((-_weight(parameters), number, _BY_MEDIA_TYPE[media_type]))
    return min(ranked)[2] if ranked else Format.JSON


def response(rows: Rows, wanted: Format) -> Response:
    """Write rows as wanted."""
    headers = {PARTIAL: "true" if rows.lag.partial else "false"}
    if rows.lag.lag_bytes is not None:
        headers[LAG_BYTES] = str(rows.lag.lag_bytes)
    if rows.lag.lag_records is not None:
        headers[LAG_RECORDS] = str(rows.lag.lag_records)
    if rows.lag.damaged:
        headers[DAMAGED] = ", ".join(rows.lag.damaged[:_NAMED])
    if rows.next_cursor is not None:
        headers[NEXT_CURSOR] = rows.next_cursor
    return Response(_WRITERS[wanted](rows), media_type=MEDIA_TYPES[wanted], headers=headers)


def responses(model: type[Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of the forms of an answer that is ``model`` in JSON."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {
        MEDIA_TYPES[Format.NDJSON]: {"schema": {"type": "string", "description": "A row a line"}},
        MEDIA_TYPES[Format.ARROW]: binary,
        MEDIA_TYPES[Format.PARQUET]: binary,
    }
    return {200: {"content": content} | ({} if model is None else {"model": model})}


def lag(given: Lag) -> dict[str, Any]:
    """Say in JSON whether all that was acknowledged is in an answer, and how much is not."""
    said: dict[str, Any] = {"partial": given.partial, "lag_bytes": given.lag_bytes, "lag_records": given.lag_records}
    return said | ({"damaged": list(given.damaged)} if given.damaged else {})


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows as JSON has them: money as text with 12 places."""
    columns = [_plain(table[name]) for name in table.column_names]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(column: pa.ChunkedArray) -> Sequence[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_decimal(column.type):
        return [money(value) for value in values]
    if pa.types.is_map(column.type):
        return [None if value is None else dict(value) for value in values]
    return values


def money(amount: Decimal | None) -> str | None:
    """Write an amount of dollars with all of its 12 places, never as a binary float."""
    return None if amount is None else f"{amount:.12f}"


def _json(rows: Rows) -> bytes:
    body: dict[str, Any] = {rows.name: plain_rows(rows.table), **rows.extra}
    if rows.paged:
        body["next_cursor"] = rows.next_cursor
    return json_text.dumps(body | lag(rows.lag))


def _ndjson(rows: Rows) -> bytes:
    return b"".join(json_text.dumps(row) + b"\n" for row in plain_rows(rows.table))


def _arrow(rows: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.table.schema) as writer:
        writer.write_table(rows.table)
    return sink.getvalue().to_pybytes()


def _parquet(rows: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows.table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


_WRITERS = {Format.JSON: _json, Format.NDJSON: _ndjson, Format.ARROW: _arrow, Format.PARQUET: _parquet}


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
