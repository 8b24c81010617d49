"""Stored payloads into columns once more, as newer rules and prices have it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from agenttrace_core.normalise.attributes import Batch
from agenttrace_core.normalise.prices.pricing import Pricing
from agenttrace_core.schema.arrays import Int64s, whole
from agenttrace_core.wire.columns import decode_again
from agenttrace_core.wire.proto_bytes import delimited

_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"  # the tags of fields 1 to 3, length-delimited


@dataclass(frozen=True, slots=True)
class Again:
    """What some spans are by the rules of now. ``order[i]`` is the row given that the batch's row ``i`` is."""

    batch: Batch
    columns: dict[str, pa.Array]
    order: Int64s

    def in_given_order(self) -> dict[str, pa.Array]:
        """Return the columns in the order of the rows given."""
        place = pa.array(np.argsort(self.order))
        return {name: column.take(place) for name, column in self.columns.items()}


def normalised_again(rows: pa.Table, pricing: Pricing) -> Again:
    """Decode rows, with the columns of ``PAYLOAD`` and ``received_ns``, as if they came now."""
    body, order = request_of(rows)
    received = whole(rows["received_ns"]).take(pa.array(order))
    batch, columns = decode_again(body, received, pricing)
    return Again(batch, columns, order)


def request_of(payload: pa.Table) -> tuple[bytes, Int64s]:
    """Return rows of ``PAYLOAD`` as one ``ExportTraceServiceRequest``, and which row each of its spans is.

    Spans that share their resource and scope share them in the request.
    """
    groups: dict[tuple[bytes | None, ...], list[int]] = {}
    shared = (
        payload[name].to_pylist() for name in ("resource", "resource_schema_url", "scope_message", "scope_schema_url")
    )
    for row, key in enumerate(zip(*shared, strict=True)):
        groups.setdefault(key, []).append(row)
    spans = payload["span"].to_pylist()
    out = []
    for (resource, resource_url, scope, scope_url), members in groups.items():
        in_scope = b"".join(delimited(_SECOND, spans[row]) for row in members)
        of_scope = _field(_FIRST, scope) + in_scope + _field(_THIRD, scope_url)
        of_resource = _field(_FIRST, resource) + delimited(_SECOND, of_scope) + _field(_THIRD, resource_url)
        out.append(delimited(_FIRST, of_resource))
    return b"".join(out), np.array([row for members in groups.values() for row in members], np.int64)


def _field(head: bytes, value: bytes | None) -> bytes:
    return delimited(head, value) if value else b""
