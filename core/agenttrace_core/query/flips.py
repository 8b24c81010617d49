"""Which rows that were written have to be flipped, and what that adds to sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.query.amend import ARRIVAL
from agenttrace_core.query.counting import COUNTING_COLUMNS, counted_of
from agenttrace_core.schema.arrays import Bools, whole
from agenttrace_core.schema.tables import FLIPS
from agenttrace_core.schema.traces import RowKeys
from agenttrace_core.schema.usage import Usage

FLIPPING_COLUMNS = tuple(dict.fromkeys((*COUNTING_COLUMNS, "counted", "start_ns", "received_ns", *ARRIVAL)))
"""What ``flips_of`` reads of ``LIGHT``."""


def flips_of(rows: pa.Table) -> pa.Table:
    """Return the flips of those among all rows of some traces that do not say as they should whether they count.

    ``rows`` hold ``FLIPPING_COLUMNS`` as they are by now, and one version of each span.
    """
    should = counted_of(rows)
    wrong = np.asarray(pc.not_equal(should, whole(rows["counted"])).fill_null(False))
    return turning(rows.filter(pa.array(wrong)), np.asarray(should.filter(pa.array(wrong))))


def turning(rows: pa.Table, count_now: Bools) -> pa.Table:
    """Return flips of rows, which add what the rows have where they count now, and take it back where not."""
    if len(rows) == 0:
        return FLIPS.empty_table()
    rows = rows.combine_chunks()
    keys = RowKeys.of(rows)
    at = rows.schema.get_field_index("counted")
    usage = Usage.of(rows.set_column(at, rows.schema.field(at), pa.repeat(pa.scalar(True), len(rows))))
    sign = np.where(count_now, 1, -1)
    columns: dict[str, Any] = {
        "trace_hi": keys.trace[:, 0],
        "trace_lo": keys.trace[:, 1],
        "window": keys.window,
        "turns": np.ones(len(rows), np.bool_),
        "input_tokens": sign * usage.input_tokens,
        "output_tokens": sign * usage.output_tokens,
        "cost_pico_usd": sign * usage.cost_pico_usd,
        "unpriced": sign * usage.unpriced,
    }
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else whole(rows[f.name]) for f in FLIPS]
    return pa.table(arrays, schema=FLIPS)
