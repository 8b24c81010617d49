"""A sum of costs of which no part is known is not zero: it is not known."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.schema.arrays import whole


def known_costs(rows: pa.Table, prefix: str = "") -> pa.Table:
    """Make ``cost_usd`` null where it is zero for want of a price, in a table that has ``unpriced`` too.

    ``prefix`` stands before the names of both columns; a table without one of them is returned as it is.
    """
    names = [f"{prefix}cost_usd", f"{prefix}unpriced"]
    if not set(names) <= set(rows.column_names):
        return rows
    cost, unpriced = (whole(rows[name]) for name in names)
    zero = np.asarray(pc.equal(cost, pa.scalar(Decimal(0), cost.type)).fill_null(False))
    unknown = zero & (np.asarray(unpriced.fill_null(0)) > 0)
    shown = pc.if_else(pa.array(unknown), pa.scalar(None, cost.type), cost)
    return rows.set_column(rows.column_names.index(names[0]), names[0], shown)
