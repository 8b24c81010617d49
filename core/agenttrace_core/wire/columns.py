"""Whole batches of OTLP requests into columns, with no Python object a span.

Each batch is decoded twice, because two quick passes cost less than one that keeps everything: once
into the columns that light rows are made of, and once into slices, which are the spans as received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.errors import CorruptionError
from agenttrace_core.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from agenttrace_core.model.span import Quality
from agenttrace_core.normalise.attributes import Attributes, Batch
from agenttrace_core.normalise.canonical import canonical
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.ports.queue import Record
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.keys import hex_strings, numbers_of, offsets_of
from agenttrace_core.schema.tables import KINDS, ROWS, STATUSES
from agenttrace_core.wire.decoder import decoder
from agenttrace_core.wire.quality import Flags, as_text, mark

_MAX_INT64 = np.iinfo(np.int64).max
_YEAR_2000_NS = 946_684_800_000_000_000
_DAY_NS = 86_400_000_000_000
_STATUS_MESSAGE_BYTES = 256
_ERROR = pa.scalar("error", pa.string())
_EMPTY, _NO_TEXT = pa.scalar("", pa.string()), pa.scalar(None, pa.string())

_light = decoder("LightRequest")
_sliced = decoder("SlicedRequest")
_ids = decoder("IdRequest")


def decode_ids(body: bytes) -> tuple[pa.BinaryArray, pa.BinaryArray]:
    """Return the trace ids and span ids of a request that is known to parse, in order."""
    spans = _ids.list_to_record_batch([body]).column(0).flatten().field(0).flatten().field(0).flatten()
    return spans.field(0), spans.field(1)


def decode_records(records: Sequence[Record], pricing: Pricing = PACKAGE_PRICES, *, offset_base: int = 0) -> pa.Table:
    """Decode records of signal ``traces`` into a table in the ``ROWS`` schema, in order of arrival.

    ``pricing`` says what their calls cost; ``offset_base`` is added to the offsets of their records.

    Raises:
        CorruptionError: a body does not parse, its two passes do not agree, or a span has no id by which it could be
            found: no door lets that in, but others may write into the queue.
    """
    try:
        light, sliced = _passes([record.body for record in records])
    except (ValueError, pa.ArrowInvalid) as error:
        raise CorruptionError(f"a queued request does not parse: {error}") from error
    if len(light.spans) != len(sliced.spans):
        raise CorruptionError("a queued request has other spans as columns than as slices")
    ids = ((light.spans.field("trace_id"), TRACE_ID_BYTES), (light.spans.field("span_id"), SPAN_ID_BYTES))
    if not all(usable(values, size).all() for values, size in ids):
        raise CorruptionError("a span of a queued request has an id of another length, or of zeros only")
    arrival = _arrival(records, light.record_of_span(), offset_base)
    batch, columns = _batch(light, sliced, arrival["received_ns"])
    columns |= arrival | _canonical_columns(batch, columns, pricing) | _payload_columns(sliced)
    columns |= {f.name: pa.nulls(len(light.spans), f.type) for f in ROWS if f.name not in columns}
    return pa.table([columns[field.name] for field in ROWS], schema=ROWS)


def decode_again(body: bytes, received_ns: pa.Array, pricing: Pricing) -> tuple[Batch, dict[str, pa.Array]]:
    """Return the columns that rules, times and prices give the spans of a request that was decoded before.

    ``received_ns`` has a time for each of its spans. What only the record of the queue knew is not among the columns.
    """
    light, sliced = _passes([body])
    batch, columns = _batch(light, sliced, received_ns)
    return batch, columns | _canonical_columns(batch, columns, pricing)


def _passes(bodies: list[bytes]) -> tuple[_Levels, _Levels]:
    return _Levels.of(_light.list_to_record_batch(bodies)), _Levels.of(_sliced.list_to_record_batch(bodies))


@dataclass(frozen=True, slots=True)
class _Levels:
    """The nested lists of a batch, flattened: each level's items, and the index of each item's parent."""

    resources: pa.StructArray
    record_of_resource: Int64s
    scopes: pa.StructArray
    resource_of_scope: Int64s
    spans: pa.Array
    scope_of_span: Int64s

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> _Levels:
        resource_lists = batch.column(0)
        resources = resource_lists.flatten()
        scope_lists = resources.field("scope_spans")
        scopes = scope_lists.flatten()
        span_lists = scopes.field("spans")
        return cls(
            resources,
            _parents(resource_lists),
            scopes,
            _parents(scope_lists),
            span_lists.flatten(),
            _parents(span_lists),
        )

    def record_of_span(self) -> Int64s:
        return self.record_of_resource[self.resource_of_scope[self.scope_of_span]]

    def resource_of_span(self) -> Int64s:
        return self.resource_of_scope[self.scope_of_span]


def _parents(lists: pa.ListArray) -> Int64s:
    return np.asarray(pc.list_parent_indices(lists))


def _arrival(records: Sequence[Record], record_of_span: Int64s, offset_base: int) -> dict[str, pa.Array]:
    """What is known of each span from the record that brought it."""
    first_of_record = np.searchsorted(record_of_span, np.arange(len(records)))
    position = np.arange(len(record_of_span)) - first_of_record[record_of_span]
    of_record = {
        "project": pa.array([r.headers.project for r in records], pa.string()),
        "received_ns": pa.array([r.headers.received_ns for r in records], pa.int64()),
        "partition": pa.array([r.position.partition for r in records], pa.int32()),
        "offset": pa.array([offset_base + r.position.offset for r in records], pa.int64()),
    }
    index = pa.array(record_of_span)
    columns = {name: values.take(index) for name, values in of_record.items()}
    return columns | {"position": pa.array(position.astype(np.int32))}


def _batch(light: _Levels, sliced: _Levels, received: pa.Array) -> tuple[Batch, dict[str, pa.Array]]:
    """Return the batch as rules see it, and the columns that need none."""
    spans = light.spans
    quality = np.zeros(len(spans), np.uint16)
    columns = _ids_as_text(spans, quality) | _times(spans, received.to_numpy(), quality) | _enums(spans, quality)
    columns["received_ns"] = received
    columns["name"] = as_text(spans.field("name"), quality)
    status = pc.binary_slice(spans.field("status").field("message"), 0, _STATUS_MESSAGE_BYTES)
    columns["status_message"] = _empty_as_null(as_text(status, quality))
    scopes, columns["scope"] = _scopes(light, quality)
    batch = Batch(
        spans=Attributes.of(spans.field("attributes")),
        resources=Attributes.of(light.resources.field("resource").field("attributes")),
        resource_of_span=light.resource_of_span(),
        scopes=scopes.to_pylist(),
        scope_of_span=light.scope_of_span,
        names=columns["name"],
        starts=columns["start_ns"],
        failed=np.asarray(pc.equal(columns["status"], _ERROR)),
        raw=sliced.spans,
        raw_resources=sliced.resources.field("resource"),
        quality=quality,
    )
    return batch, columns


def _canonical_columns(batch: Batch, own: dict[str, pa.Array], pricing: Pricing) -> dict[str, pa.Array]:
    """Return what the rules make of a batch, and what that costs."""
    columns = canonical(batch, {name: own[name] for name in ("span_id", "parent_span_id", "duration_ns")})
    columns |= {f"context_{name}": columns[name] for name in ("agent", "session_id", "user_id")}
    columns["cost_usd"] = pricing.costs({**own, **columns})
    return columns | {"quality": pa.array(batch.quality)}


def _ids_as_text(spans: pa.StructArray, quality: Flags) -> dict[str, pa.Array]:
    parents = spans.field("parent_span_id")
    lengths = np.diff(offsets_of(parents))
    strange = (lengths != 0) & (lengths != 8)
    if strange.any():
        mark(quality, strange, Quality.BAD_PARENT)
        parents = pa.array([p if len(p) == 8 else b"" for p in parents.to_pylist()], pa.binary())
    return {
        "trace_id": hex_strings(fixed_width(spans.field("trace_id"), 16), 16),
        "span_id": hex_strings(fixed_width(spans.field("span_id"), 8), 8),
        "parent_span_id": _parents_as_text(parents),
    }


def _parents_as_text(parents: pa.BinaryArray) -> pa.Array:
    """Hex of the parents' ids; null where there is none, or where it is all zeros."""
    lengths = np.diff(offsets_of(parents))
    words = np.zeros(len(parents), np.uint64)
    words[lengths == 8] = _values_of(parents).view(np.uint64)
    return hex_strings(words.view(np.uint8), 8, nulls=words == 0)


def _times(spans: pa.StructArray, received: Int64s, quality: Flags) -> dict[str, pa.Array]:
    """``start_ns`` and ``duration_ns``; unsigned times beyond int64 (the year 2262) become the greatest int64."""
    start = np.minimum(spans.field("start_time_unix_nano").to_numpy(), _MAX_INT64).astype(np.int64)
    end = np.minimum(spans.field("end_time_unix_nano").to_numpy(), _MAX_INT64).astype(np.int64)
    no_start, no_end = start == 0, end == 0
    mark(quality, no_start, Quality.NO_START)
    mark(quality, no_end, Quality.NO_END)
    mark(quality, ~no_start & ~no_end & (end < start), Quality.END_BEFORE_START)
    absurd = (start < _YEAR_2000_NS) | (start > received + _DAY_NS)
    mark(quality, ~no_start & absurd, Quality.ABSURD_START)
    return {
        "start_ns": pa.array(start, mask=no_start),
        "duration_ns": pa.array(end - start, mask=no_start | no_end),
    }


def _enums(spans: pa.StructArray, quality: Flags) -> dict[str, pa.Array]:
    codes = pc.fill_null(spans.field("status").field("code"), 0)
    return {
        "kind": _names(spans.field("kind"), KINDS, quality, Quality.UNKNOWN_KIND),
        "status": _names(codes, STATUSES, quality, Quality.UNKNOWN_STATUS),
    }


def _names(codes: pa.Array, names: tuple[str, ...], quality: Flags, unknown: Quality) -> pa.Array:
    numbers = codes.to_numpy(zero_copy_only=False)
    strange = (numbers < 0) | (numbers >= len(names))
    mark(quality, strange, unknown)
    return pa.array(names, pa.string()).take(pa.array(np.where(strange, 0, numbers)))


def _scopes(light: _Levels, quality: Flags) -> tuple[pa.Array, pa.Array]:
    """The name of each scope, and of each span's; where one is bad, its spans say so."""
    names = light.scopes.field("scope").field("name")
    own = np.zeros(len(names), np.uint16)
    text = _empty_as_null(as_text(names, own))
    quality |= own[light.scope_of_span]
    return text, text.take(pa.array(light.scope_of_span))


def _payload_columns(sliced: _Levels) -> dict[str, pa.Array]:
    resource = pa.array(sliced.resource_of_span(), pa.int32())
    scope = pa.array(sliced.scope_of_span, pa.int32())

    def shared(index: pa.Array, values: pa.Array) -> pa.Array:
        return pa.DictionaryArray.from_arrays(index, values)

    return {
        "span": sliced.spans,
        "resource": shared(resource, sliced.resources.field("resource")),
        "resource_schema_url": shared(resource, sliced.resources.field("schema_url")),
        "scope_message": shared(scope, sliced.scopes.field("scope")),
        "scope_schema_url": shared(scope, sliced.scopes.field("schema_url")),
    }


def _empty_as_null(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, _EMPTY), _NO_TEXT, text)


def fixed_width(values: pa.BinaryArray, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of a binary array whose values all have ``size`` bytes, as one flat array without a copy.

    Raises:
        CorruptionError: a value has another length.
    """
    flat = _values_of(values)
    if len(flat) != size * len(values):
        raise CorruptionError(f"an id does not have {size} bytes")
    return flat


def usable(ids: pa.BinaryArray, size: int) -> Bools:
    """Return, for each id, whether it has ``size`` bytes of which one is not zero."""
    right_length = np.diff(offsets_of(ids)) == size
    if not right_length.all():
        ids = pa.array([i.as_py() if ok else bytes(size) for i, ok in zip(ids, right_length, strict=True)], pa.binary())
    words = fixed_width(ids, size).view(np.uint64).reshape(len(ids), size // 8)
    found: Bools = np.bitwise_or.reduce(words, axis=1) != 0
    return found


def _values_of(values: pa.BinaryArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
    offsets = offsets_of(values)
    return numbers_of(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
