"""Rows of the ledger of traces as values."""

from __future__ import annotations

import pyarrow as pa

from agenttrace_core.model.trace import TraceSummary
from agenttrace_core.schema.keys import trace_id_of

_COLUMNS = (
    "trace_hi", "trace_lo", "name", "service", "start_ns", "end_ns", "spans", "errors", "input_tokens",
    "output_tokens", "has_root", "session_id", "user_id",
)  # fmt: skip


def summaries_of(sums: pa.Table) -> tuple[TraceSummary, ...]:
    """Return rows in the ``TRACES`` schema, one a trace, as summaries in the same order."""
    columns = (sums[name].to_pylist() for name in _COLUMNS)
    return tuple(TraceSummary(trace_id_of(hi, lo), *rest) for hi, lo, *rest in zip(*columns, strict=True))
