"""Rows of the ledger of traces as values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.span import UNENDED
from agenttrace_core.model.trace import TraceSummary
from agenttrace_core.query.settle import effective_start
from agenttrace_core.schema.arrays import Int64s, numbers, whole
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.schema.traces import ranks_of
from agenttrace_core.schema.usage import Usage

_COLUMNS = (
    "trace_hi", "trace_lo", "name", "service", "start_ns", "end_ns", "spans", "errors", "input_tokens",
    "output_tokens", "cost_pico_usd", "unpriced", "running", "received_ns", "has_root", "session_id", "user_id",
)  # fmt: skip

_ERROR = pa.scalar("error", pa.string())


def summaries_of(sums: pa.Table) -> tuple[TraceSummary, ...]:
    """Return rows in the ``TRACES`` schema, one a trace, as summaries in the same order."""
    columns = (sums[name].to_pylist() for name in _COLUMNS)
    return tuple(TraceSummary(trace_id_of(hi, lo), *rest) for hi, lo, *rest in zip(*columns, strict=True))


def summary_of(rows: pa.Table) -> TraceSummary:
    """Sum up one trace from all of its rows (columns of ``LIGHT``), settled and in order.

    Says what the ledger says of the same rows (``agenttrace_core.schema.traces``), and is quicker for one trace.
    """
    start = effective_start(rows)
    duration = np.maximum(rows["duration_ns"].combine_chunks().fill_null(0).to_numpy(), 0)
    # Sums of two int64 times may leave int64; the year 2262 is as far as a file knows.
    end = start + np.minimum(duration, np.iinfo(np.int64).max - np.maximum(start, 0))
    roots = np.flatnonzero(np.asarray(rows["parent_span_id"].is_null()))
    speaker = int(roots[0]) if len(roots) else 0
    usage = Usage.of(rows)
    return TraceSummary(
        trace_id=rows["trace_id"][0].as_py(),
        name=rows["name"][speaker].as_py(),
        service=rows["service"][speaker].as_py(),
        start_ns=int(start[0]),
        # A span without a start stands where it was received, which says nothing of how long its trace took.
        end_ns=int(end[np.asarray(rows["start_ns"].is_valid())].max(initial=start[0])),
        spans=len(rows),
        errors=int(np.count_nonzero(np.asarray(pc.equal(rows["status"], _ERROR)))),
        input_tokens=int(usage.input_tokens.sum()),
        output_tokens=int(usage.output_tokens.sum()),
        cost_pico_usd=int(usage.cost_pico_usd.sum()),
        unpriced=int(usage.unpriced.sum()),
        running=int(np.count_nonzero(numbers(rows, "quality") & np.uint16(UNENDED))),
        received_ns=int(numbers(rows, "received_ns").max()),
        has_root=len(roots) > 0,
        session_id=_first_said(rows, "session_id", start),
        user_id=_first_said(rows, "user_id", start),
    )


def _first_said(rows: pa.Table, name: str, start: Int64s) -> str | None:
    """The value of the first root that has one, else of the first span."""
    values = whole(rows[name])
    if values.null_count == len(values):
        return None
    said: str = values[int(np.argmin(ranks_of(values, whole(rows["parent_span_id"]), start)))].as_py()
    return said
