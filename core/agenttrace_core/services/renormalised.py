"""Rows as the rules and prices of now have them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.span import Quality
from agenttrace_core.normalise.prices.pricing import Pricing
from agenttrace_core.query.amend import AMENDED_COLUMNS, ARRIVAL, replaced
from agenttrace_core.query.context import OWN
from agenttrace_core.query.counting import counted_of
from agenttrace_core.schema.arrays import numbers, whole
from agenttrace_core.schema.tables import LIGHT
from agenttrace_core.wire.again import normalised_again

_KEPT = frozenset(("project", "received_ns", *ARRIVAL, *AMENDED_COLUMNS))
"""Columns that do not come from the payload alone."""


def renormalised(rows: pa.Table, pricing: Pricing) -> pa.Table:
    """Return rows of ``ROWS``, all of some traces that a file has, with what their payloads give by now.

    Whether a row counts was settled by its whole trace, and stays as it is where it can; a row that has tokens
    or a cost only now is settled by what the file has of its trace. What a span says of its own agent, session
    and user is its context; what an ancestor said of it stays.
    """
    again = normalised_again(rows, pricing).in_given_order()
    columns = {name: again[name] for name in LIGHT.names if name not in _KEPT}
    for name in OWN:
        columns[f"context_{name}"] = pc.coalesce(again[name], whole(rows[f"context_{name}"]))
    changed = replaced(rows, **columns)
    return replaced(changed, counted=_counted(changed, whole(rows["counted"])))


def _counted(rows: pa.Table, before: pa.Array) -> pa.Array:
    by_file = counted_of(rows)
    denied = pa.array((numbers(rows, "quality") & np.uint16(Quality.COUNTED_BELOW)) != 0)
    kept = pc.if_else(denied, by_file, pc.coalesce(before, by_file))
    return pc.if_else(by_file.is_valid(), kept, pa.scalar(None, pa.bool_()))
