"""Whose traces are: sums over the ledger by session or user, and pages of those.

A trace belongs, as a whole, to the session and user that its root names, else to the first that a span of it
names. So the owners' sums, and those of the traces that have none, are together the sums of all spans.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.algebra import Interval, Measure

OWNED = (
    Measure.SPANS, Measure.TRACES, Measure.ERRORS, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS, Measure.COST_USD,
    Measure.UNPRICED, Measure.FIRST_NS, Measure.LAST_NS,
)  # fmt: skip
"""What the ledger tells of an owner. ``first_ns`` and ``last_ns`` are starts of traces."""

OWNERS = pa.schema(
    [
        ("dim0", pa.string()),
        *((measure.value, pa.decimal128(38, 12) if measure is Measure.COST_USD else pa.int64()) for measure in OWNED),
    ]
)  # fmt: skip


def within(sums: pa.Table, during: Interval) -> pa.Table:
    """Keep the traces (``TRACES``, one row each) that start within an interval."""
    if during.start_ns is not None:
        sums = sums.filter(pc.greater_equal(sums["start_ns"], pa.scalar(during.start_ns, pa.int64())))
    if during.end_ns is not None:
        sums = sums.filter(pc.less(sums["start_ns"], pa.scalar(during.end_ns, pa.int64())))
    return sums


def owners_of(sums: pa.Table, column: str) -> pa.Table:
    """Add traces (``TRACES``, one row each) up by ``session_id`` or ``user_id``; those that have none are left out."""
    named = sums.filter(pc.is_valid(sums[column]))
    grouped = named.group_by(column).aggregate(
        [
            ("spans", "sum"), ("trace_hi", "count"), ("errors", "sum"), ("input_tokens", "sum"),
            ("output_tokens", "sum"), ("cost_pico_usd", "sum"), ("unpriced", "sum"), ("start_ns", "min"),
            ("start_ns", "max"),
        ]
    )  # fmt: skip
    costs = [Decimal(pico).scaleb(-12) for pico in grouped["cost_pico_usd_sum"].to_pylist()]
    columns: dict[str, Any] = {
        "dim0": grouped[column],
        "spans": grouped["spans_sum"],
        "traces": grouped["trace_hi_count"],
        "errors": grouped["errors_sum"],
        "input_tokens": grouped["input_tokens_sum"],
        "output_tokens": grouped["output_tokens_sum"],
        "cost_usd": pa.array(costs, pa.decimal128(38, 12)),
        "unpriced": grouped["unpriced_sum"],
        "first_ns": grouped["start_ns_min"],
        "last_ns": grouped["start_ns_max"],
    }
    return pa.table(columns).select(OWNERS.names).cast(OWNERS)
