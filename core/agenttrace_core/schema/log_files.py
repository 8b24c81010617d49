"""Log records into the bytes of the objects that a file of them consists of.

``records`` is Parquet, sorted by project, window, trace and time; ``traces`` an uncompressed Arrow IPC file
that says which of its rows are a trace's; ``scores``, where there are any, Parquet with what
evaluation results say and no more, so that all of them can be looked through quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agenttrace_core.model.segment import WINDOW_NS, Segment
from agenttrace_core.schema.arrays import Int64s, UInt64s, whole
from agenttrace_core.schema.files import LASTING_LEVEL, SinkFactory, ipc_file, joined, memory_sink, payload_groups
from agenttrace_core.schema.keys import words_of_hex
from agenttrace_core.schema.tables import LOG_TRACES, LOGS, SCORES

_YEAR_2000_NS = 946_684_800_000_000_000
_DAY_NS = 86_400_000_000_000
_NO_TRACE = pa.scalar("0" * 32, pa.string())
_SCORE_COLUMNS = {"name", "value", "label", "explanation", "source", "id"}
SCORED_COLUMNS = tuple(f"score_{f.name}" if f.name in _SCORE_COLUMNS else f.name for f in SCORES)
"""The columns of ``LOGS`` that scores are made of, in the order of ``SCORES``."""

_SHARED_VALUES = [
    "project", "event_name", "session_id", "score_name", "score_label", "score_source", "resource",
    "resource_schema_url", "scope_message", "scope_schema_url", "received_ns", "partition", "offset",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogKeys:
    """What log records are sorted by. ``time`` is the event's, or where that is absent or absurd, the receipt's."""

    projects: tuple[str, ...]
    project: Int64s
    window: Int64s
    trace: UInt64s
    time: Int64s

    @classmethod
    def of(cls, rows: pa.Table) -> LogKeys:
        """Read the keys of rows that hold the columns of ``LOGS``."""
        encoded = whole(rows["project"]).dictionary_encode()
        projects: list[str] = encoded.dictionary.to_pylist()
        rank = np.argsort(np.argsort(projects)) if projects else np.zeros(0, np.int64)
        time = event_times(rows)
        return cls(
            projects=tuple(sorted(projects)),
            project=rank[encoded.indices.to_numpy()].astype(np.int64),
            window=time - time % WINDOW_NS,
            trace=words_of_hex(whole(rows["trace_id"]).fill_null(_NO_TRACE), 16),
            time=time,
        )

    def order(self, rows: pa.Table) -> Int64s:
        """Return the row numbers in the order of a file: of one time, as they arrived."""
        arrival = [whole(rows[name]).to_numpy() for name in ("position", "offset", "partition")]
        return np.lexsort([*arrival, self.time, self.trace[:, 1], self.trace[:, 0], self.window, self.project])

    def take(self, order: Int64s) -> LogKeys:
        """Return the keys of the rows in another order."""
        return LogKeys(self.projects, self.project[order], self.window[order], self.trace[order], self.time[order])


def event_times(rows: pa.Table) -> Int64s:
    """Return when each log record happened; where it says nothing, or nothing that can be, when it came."""
    received = whole(rows["received_ns"]).to_numpy()
    said = whole(rows["time_ns"]).fill_null(0).to_numpy()
    return np.where((said < _YEAR_2000_NS) | (said > received + _DAY_NS), received, said)


def scores_of(rows: pa.Table) -> pa.Table:
    """Return the evaluation results among log records (``SCORED_COLUMNS`` at least), in the ``SCORES`` schema."""
    scores = rows.filter(rows["score_name"].is_valid())
    times = pa.array(event_times(scores))
    columns = [times if name == "time_ns" else scores[name] for name in SCORED_COLUMNS]
    return pa.table(columns, schema=SCORES)


@dataclass(frozen=True, slots=True)
class LogsFile:
    """The objects of one file of log records, by name, and its segments."""

    objects: Mapping[str, pa.Buffer]
    segments: tuple[Segment, ...]


def encode_logs_file(rows: pa.Table) -> LogsFile:
    """Sort log records (schema ``LOGS``, at least one, in any order) and encode them."""
    writer = LogsFileWriter()
    writer.write(rows)
    return writer.finish()


class LogsFileWriter:
    """Encodes a file piece by piece. Pieces do not overlap, as with ``SpansFileWriter``."""

    def __init__(self, open_sink: SinkFactory = memory_sink) -> None:
        self._sink = open_sink()
        self._records = pq.ParquetWriter(
            self._sink.stream, LOGS, compression="zstd", compression_level=LASTING_LEVEL, use_dictionary=_SHARED_VALUES,
            store_schema=False,
        )  # fmt: skip
        self._traces: list[pa.Table] = []
        self._scores: list[pa.Table] = []
        self._segments: list[Segment] = []
        self._trace_count = 0
        self.rows = 0

    def write(self, rows: pa.Table) -> None:
        """Append a piece (schema ``LOGS``, at least one row, in any order)."""
        keys = LogKeys.of(rows)
        order = keys.order(rows)
        rows, keys = rows.take(pa.array(order)).combine_chunks(), keys.take(order)
        sizes = pc.binary_length(rows["record"]).to_numpy().astype(np.int64)
        for start, stop in payload_groups(sizes):
            self._records.write_table(rows.slice(start, stop - start))
        self._add_traces(keys, sizes)
        scores = scores_of(rows)
        if len(scores):
            self._scores.append(scores)
        self.rows += len(rows)

    def finish(self) -> LogsFile:
        """Close the objects and return them."""
        self._records.close()
        objects = {"records": self._sink.finish(), "traces": ipc_file(pa.concat_tables(self._traces))}
        if self._scores:
            objects["scores"] = _parquet(pa.concat_tables(self._scores))
        return LogsFile(objects, tuple(joined(self._segments)))

    def _add_traces(self, keys: LogKeys, sizes: Int64s) -> None:
        starts = _changes(keys.project, keys.window, keys.trace[:, 0], keys.trace[:, 1])
        counts = np.diff(starts, append=len(sizes))
        columns = [keys.trace[starts, 0], keys.trace[starts, 1], (self.rows + starts).astype(np.uint32),
                   counts.astype(np.uint32)]  # fmt: skip
        self._traces.append(pa.table([pa.array(column) for column in columns], schema=LOG_TRACES))
        bounds = _changes(keys.project, keys.window)
        for start, stop in zip(bounds, [*bounds[1:], len(sizes)], strict=True):
            first_trace, end_trace = np.searchsorted(starts, (start, stop))
            self._segments.append(
                Segment(
                    project=keys.projects[int(keys.project[start])],
                    window=int(keys.window[start]),
                    first_row=self.rows + int(start),
                    rows=int(stop - start),
                    first_trace=self._trace_count + int(first_trace),
                    traces=int(end_trace - first_trace),
                    min_start_ns=int(keys.time[start:stop].min()),
                    max_start_ns=int(keys.time[start:stop].max()),
                    raw_bytes=int(sizes[start:stop].sum()),
                )
            )
        self._trace_count += len(starts)


def _changes(*keys: np.ndarray[tuple[int], np.dtype[np.generic]]) -> Int64s:
    changed = np.ones(len(keys[0]), np.bool_)
    changed[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(changed)


def _parquet(scores: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(scores, sink, compression="zstd", compression_level=LASTING_LEVEL, store_schema=False)
    return sink.getvalue()
