"""If these fail, a model whose price nobody knows is shown as one that is free."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from agenttrace_core.query.known_costs import known_costs

_MONEY = pa.decimal128(38, 12)


def test_a_sum_of_which_no_part_is_known_is_not_zero() -> None:
    rows = pa.table({
        "cost_usd": pa.array([Decimal(0), Decimal(0), Decimal("0.5"), None], _MONEY),
        "unpriced": pa.array([2, 0, 2, None], pa.int64()),
        "previous_cost_usd": pa.array([Decimal(0)] * 4, _MONEY),
        "previous_unpriced": pa.array([0, 0, 0, 1], pa.int64()),
    })  # fmt: skip
    known = known_costs(rows)
    assert known["cost_usd"].to_pylist() == [None, Decimal(0), Decimal("0.500000000000"), None]
    assert known["previous_cost_usd"] == rows["previous_cost_usd"]
    assert known_costs(rows, "previous_")["previous_cost_usd"].to_pylist() == [Decimal(0)] * 3 + [None]
    assert known_costs(rows.select(["cost_usd"])) == rows.select(["cost_usd"])
