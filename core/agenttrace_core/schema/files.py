"""Tables into the bytes of the objects that a segment file consists of.

``light``, ``payload`` and ``attributes`` are Parquet, zstd, with the same row numbers; ``traces`` is an
uncompressed Arrow IPC file, so that a reader can map it and search its sorted ids in place; so are ``rollup``
and ``grams``, which files have that are the result of a merge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agenttrace_core.model.segment import Segment
from agenttrace_core.schema.arrays import Int64s, numbers, whole
from agenttrace_core.schema.attribute_columns import AttributeColumnsWriter
from agenttrace_core.schema.grams import GramsBuilder
from agenttrace_core.schema.rollup import RollupBuilder
from agenttrace_core.schema.tables import LIGHT, LIGHT_ROWS, PAYLOAD, TRACES
from agenttrace_core.schema.traces import RowKeys, sums_of_ordered
from agenttrace_core.schema.views import Views

LASTING_LEVEL = 3
"""zstd level of payload that is kept."""

PASSING_LEVEL = 1
"""zstd level of payload that compaction is going to write again: less time, more bytes."""

# Ids and numbers: level 3 makes more bytes of them, and takes longer.
_LIGHT_LEVEL = 1

LIGHT_GROUP_ROWS = 4_096
PAYLOAD_GROUP_ROWS = 1024
PAYLOAD_GROUP_BYTES = 8 << 20
_GROUPS_AT_ONCE = 8

_SHARED_VALUES = [
    "project", "name", "kind", "service", "scope", "status", "status_message", "operation", "provider", "model",
    "agent", "tool", "session_id", "user_id", "received_ns", "partition", "offset", "quality", "error_type",
    "error_group", "environment", "version", "prompt", "prompt_version", "context_agent", "context_session_id",
    "context_user_id", "tags.list.element", "attributes.key_value.key", "attributes.key_value.value",
]  # fmt: skip
_ENCODINGS = {
    "trace_id": "DELTA_BYTE_ARRAY", "parent_span_id": "DELTA_BYTE_ARRAY", "span_id": "PLAIN",
    "start_ns": "DELTA_BINARY_PACKED", "duration_ns": "PLAIN", "position": "PLAIN",
    "input_tokens": "PLAIN", "output_tokens": "PLAIN", "cost_usd": "PLAIN", "given_cost_usd": "PLAIN",
    "input_preview": "PLAIN", "output_preview": "PLAIN", "context_ref": "PLAIN",
}  # fmt: skip


_PAYLOAD_VIEWS = pa.schema([PAYLOAD.field("span").with_type(pa.binary_view()), *list(PAYLOAD)[1:]])
"""The payload as it is handed to the Parquet writer, which makes the same bytes of it."""


class Sink(Protocol):
    """Where the bytes of one object grow."""

    @property
    def stream(self) -> pa.NativeFile:
        """To be written to."""
        ...

    def finish(self) -> pa.Buffer:
        """Return all that was written."""
        ...


SinkFactory = Callable[[], Sink]


class MemorySink:
    """A sink in memory."""

    def __init__(self) -> None:
        self.stream = pa.BufferOutputStream()

    def finish(self) -> pa.Buffer:
        """Return all that was written."""
        return self.stream.getvalue()


def memory_sink() -> Sink:
    """Open a sink in memory."""
    return MemorySink()


@dataclass(frozen=True, slots=True)
class SpansFile:
    """The objects of one file of spans, by name, and its segments.

    ``light``, ``payload``, ``attributes`` and ``traces``; if asked for and worth it, ``rollup`` and ``grams``.

    ``order`` is, for each row of the file, the number of the row that was written, counted over all pieces.
    """

    objects: Mapping[str, pa.Buffer]
    segments: tuple[Segment, ...]
    order: Int64s


def encode_spans_file(
    rows: pa.Table, compression_level: int = LASTING_LEVEL, *, rollup: bool = False, grams: GramsBuilder | None = None
) -> SpansFile:
    """Sort ``rows`` (schema ``ROWS``, at least one, in any order) and encode them.

    The bytes depend on the rows alone, not on how they are chunked.
    """
    writer = SpansFileWriter(compression_level=compression_level, rollup=rollup, grams=grams)
    writer.write(rows)
    return writer.finish()


class SpansFileWriter:
    """Encodes a file piece by piece, so that a large one needs little memory.

    Pieces must not overlap: every (project, window, trace) of a piece comes after those of the
    pieces before it. Rows within a piece may be in any order.

    Args:
        open_sink: where each object grows.
        compression_level: zstd's, of the payload.
        attribute_keys: what has columns in the object ``attributes``; by default the first piece's commonest.
        rollup: whether the file gets a roll-up, if its spans have enough in common.
        grams: makes what tells where a text may be, if the file gets that.
    """

    def __init__(
        self,
        open_sink: SinkFactory = memory_sink,
        compression_level: int = LASTING_LEVEL,
        attribute_keys: Sequence[str] | None = None,
        *,
        rollup: bool = False,
        grams: GramsBuilder | None = None,
    ) -> None:
        self._light_sink = open_sink()
        self._payload_sink = open_sink()
        self._attributes_sink = open_sink()
        self._attributes = AttributeColumnsWriter(self._attributes_sink.stream, attribute_keys)
        self._light = pq.ParquetWriter(
            self._light_sink.stream, LIGHT_ROWS, compression="zstd", compression_level=_LIGHT_LEVEL,
            use_dictionary=_SHARED_VALUES, column_encoding=_ENCODINGS, store_schema=False,
            store_decimal_as_integer=True,
        )  # fmt: skip
        self._payload = pq.ParquetWriter(
            self._payload_sink.stream, _PAYLOAD_VIEWS, compression="zstd", compression_level=compression_level,
            use_dictionary=[name for name in PAYLOAD.names if name != "span"], store_schema=False,
            write_statistics=False,
        )  # fmt: skip
        self._rollup = RollupBuilder() if rollup else None
        self._grams = grams
        self._sums: list[pa.Table] = []
        self._segments: list[Segment] = []
        self._orders: list[Int64s] = []
        self._rows = 0
        self._traces = 0

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._rows

    def write(self, rows: pa.Table) -> None:
        """Append a piece (schema ``ROWS``, at least one row)."""
        light = rows.select(LIGHT.names).combine_chunks()
        keys = RowKeys.of(light)
        order = keys.order()
        keys = keys.take(order)
        light = light.take(pa.array(order))
        sums = sums_of_ordered(light, keys)
        self._light.write_table(light, row_group_size=LIGHT_GROUP_ROWS)
        if self._rollup is not None:
            trace = np.repeat(np.arange(self._traces, self._traces + len(sums)), numbers(sums, "rows"))
            self._rollup.add(light, keys, trace)
        if self._grams is not None:
            self._grams.add(light)
        self._attributes.write(whole(light["attributes"]))
        sizes = _lengths(rows["span"])[order]
        self._write_payload(rows.select(PAYLOAD.names), order, sizes)
        self._add_segments(sizes, keys, sums)
        self._orders.append(order + self._rows)
        first_row = pa.array(sums["first_row"].to_numpy() + np.uint32(self._rows))
        self._sums.append(sums.set_column(TRACES.get_field_index("first_row"), TRACES.field("first_row"), first_row))
        self._rows += len(rows)
        self._traces += len(sums)

    def finish(self) -> SpansFile:
        """Close the objects and return them."""
        self._light.close()
        self._payload.close()
        self._attributes.close()
        objects = {
            "light": self._light_sink.finish(),
            "attributes": self._attributes_sink.finish(),
            "payload": self._payload_sink.finish(),
            "traces": ipc_file(pa.concat_tables(self._sums)),
        }
        rollup = None if self._rollup is None else self._rollup.finish()
        if rollup is not None:
            objects["rollup"] = ipc_file(rollup)
        grams = None if self._grams is None else self._grams.finish()
        if grams is not None:
            objects["grams"] = ipc_file(grams)
        return SpansFile(objects, tuple(joined(self._segments)), np.concatenate(self._orders))

    def _write_payload(self, payload: pa.Table, order: Int64s, sizes: Int64s) -> None:
        """Write the payload, a few row groups at a time. Spans are sorted as views, so that none is copied."""
        spans = Views.of(payload["span"])
        shared = payload.drop_columns(["span"]).unify_dictionaries().combine_chunks()
        groups = list(payload_groups(sizes))
        for batch in (groups[i : i + _GROUPS_AT_ONCE] for i in range(0, len(groups), _GROUPS_AT_ONCE)):
            first, stop = batch[0][0], batch[-1][1]
            taken = shared.take(pa.array(order[first:stop]))
            columns = [spans.take(order[first:stop]), *(taken[n].cast(pa.binary()) for n in taken.column_names)]
            ordered = pa.table(columns, schema=_PAYLOAD_VIEWS)
            if all(end - start == PAYLOAD_GROUP_ROWS for start, end in batch[:-1]):
                # One call: each call from a thread may have to wait for the interpreter's lock.
                self._payload.write_table(ordered, row_group_size=PAYLOAD_GROUP_ROWS)
                continue
            for start, end in batch:
                self._payload.write_table(ordered.slice(start - first, end - start), row_group_size=PAYLOAD_GROUP_ROWS)

    def _add_segments(self, sizes: Int64s, keys: RowKeys, sums: pa.Table) -> None:
        starts = keys.segment_starts()
        rows = len(sizes)
        raw = np.concatenate([[0], np.cumsum(sizes)])
        trace_first = np.searchsorted(sums["first_row"].to_numpy(), starts)
        for i, start in enumerate(starts):
            last = i + 1 == len(starts)
            stop = rows if last else int(starts[i + 1])
            trace_stop = len(sums) if last else int(trace_first[i + 1])
            self._segments.append(
                Segment(
                    project=keys.projects[int(keys.project[start])],
                    window=int(keys.window[start]),
                    first_row=self._rows + int(start),
                    rows=stop - int(start),
                    first_trace=self._traces + int(trace_first[i]),
                    traces=trace_stop - int(trace_first[i]),
                    min_start_ns=int(keys.start[start:stop].min()),
                    max_start_ns=int(keys.start[start:stop].max()),
                    raw_bytes=int(raw[stop] - raw[start]),
                )
            )


def ipc_file(table: pa.Table) -> pa.Buffer:
    """Encode a table as an Arrow IPC file of one uncompressed batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue()


def ipc_stream(table: pa.Table) -> bytes:
    """Encode a small table as an Arrow IPC stream, to be kept in the catalog."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def read_ipc_stream(data: bytes) -> pa.Table:
    """The inverse of ``ipc_stream``."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


def payload_groups(sizes: Int64s) -> Iterator[tuple[int, int]]:
    """Cut rows so that a row group holds few enough rows, and few enough bytes, to be read for one trace."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        by_bytes = int(np.searchsorted(ends, before + PAYLOAD_GROUP_BYTES, side="right"))
        stop = max(start + 1, min(start + PAYLOAD_GROUP_ROWS, by_bytes, len(ends)))
        yield start, stop
        start = stop


def _lengths(column: pa.ChunkedArray) -> Int64s:
    return pc.binary_length(column).to_numpy().astype(np.int64)


def joined(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Join the runs of one project and window that came in several pieces."""
    current: Segment | None = None
    for segment in segments:
        if current and (current.project, current.window) == (segment.project, segment.window):
            current = Segment(
                project=current.project,
                window=current.window,
                first_row=current.first_row,
                rows=current.rows + segment.rows,
                first_trace=current.first_trace,
                traces=current.traces + segment.traces,
                min_start_ns=min(current.min_start_ns, segment.min_start_ns),
                max_start_ns=max(current.max_start_ns, segment.max_start_ns),
                raw_bytes=current.raw_bytes + segment.raw_bytes,
            )
        else:
            if current:
                yield current
            current = segment
    if current:
        yield current
