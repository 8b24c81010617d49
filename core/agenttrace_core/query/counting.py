"""Which spans' tokens and costs count in sums, so that nothing counts twice.

An inference span counts unless an inference span below it carries tokens. Agents, chains and all others
count only where nothing below them does. A fetched response is one that counted when it was made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.span import Quality
from agenttrace_core.query.tree import Forest, TreeKeys, above
from agenttrace_core.schema.arrays import Bools, numbers, whole

INFERENCE = ("chat", "generate_content", "text_completion", "embeddings")
"""The operations of inference spans."""

COUNTING_COLUMNS = (
    "project", "trace_id", "span_id", "parent_span_id", "operation", "quality",
    "input_tokens", "output_tokens", "cost_usd", "given_cost_usd",
)  # fmt: skip
"""What ``counted_of`` reads of ``LIGHT``."""

_OPERATIONS = pa.array(INFERENCE, pa.string())
_FETCH = pa.scalar("fetch_response", pa.string())


@dataclass(frozen=True, slots=True)
class Carried:
    """Of each row: whether it has tokens or a cost, whether they may count, and whether it is an inference.

    A row that may not count carries all the same, but for a fetched response, whose tokens are another's.
    """

    any: Bools
    may_count: Bools
    is_inference: Bools
    is_fetched: Bools

    @classmethod
    def of(cls, rows: pa.Table) -> Carried:
        """Read it from rows with ``COUNTING_COLUMNS``."""
        operation = whole(rows["operation"])
        is_fetched = np.asarray(pc.equal(operation, _FETCH).fill_null(False))
        names = ("input_tokens", "output_tokens", "cost_usd", "given_cost_usd")
        has_some = np.logical_or.reduce([np.asarray(whole(rows[name]).is_valid()) for name in names])
        is_denied = (numbers(rows, "quality") & np.uint16(Quality.COUNTED_BELOW)) != 0
        return cls(
            any=has_some,
            may_count=has_some & ~is_fetched & ~is_denied,
            is_inference=np.asarray(pc.is_in(operation, value_set=_OPERATIONS)),
            is_fetched=is_fetched,
        )

    @property
    def up(self) -> Bools:
        """The rows whose tokens keep those above from counting."""
        return self.any & ~self.is_fetched

    def counted(self, below_inference: Bools, below_any: Bools) -> pa.Array:
        """Return the column ``counted``, given below which rows an inference, or anything, carries tokens."""
        counts = self.may_count & ~np.where(self.is_inference, below_inference, below_any)
        return pa.array(counts, mask=~self.any)


def counted_of(rows: pa.Table) -> pa.Array:
    """Return the column ``counted`` of all rows of some traces, of any projects, in their order.

    ``rows`` holds ``COUNTING_COLUMNS``, and one version of each span.
    """
    carried = Carried.of(rows)
    if not carried.any.any():
        return pa.nulls(len(rows), pa.bool_())
    forest = Forest.of(TreeKeys.of(rows))
    below = [above(forest.parent, forest.of_nodes(up)) for up in (carried.up & carried.is_inference, carried.up)]
    return carried.counted(*(mark[forest.node] for mark in below))
