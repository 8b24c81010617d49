"""Why each canonical value of a span is what it is: the rules of now, run over the span as received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from agenttrace_core.normalise.explain import Reason, explain
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.normalise.rules import VERSION
from agenttrace_core.wire.again import normalised_again

_BY_TRACE = "counted"
"""Settled by all of a trace, not by the span alone."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One version of a span: who it is, and the reasons for its values by the rules of ``version``.

    ``stored`` holds, by column, what the stored row has instead where it was made by other rules.
    """

    span_id: str
    name: str
    version: str
    reasons: Sequence[Reason]
    stored: Mapping[str, Any]


def explain_rows(rows: pa.Table, payload: pa.Table, pricing: Pricing = PACKAGE_PRICES) -> list[Explanation]:
    """Explain light rows by their payload; the two have the same order."""
    again = normalised_again(payload.append_column("received_ns", rows["received_ns"]), pricing)
    reasons = explain(again.batch, again.columns)
    light = rows.to_pylist()
    found: list[Explanation | None] = [None] * len(light)
    for place, given in zip(again.order.tolist(), reasons, strict=True):
        row = light[place]
        # Whether a row counts is settled by its trace, not by the span alone.
        stored = {
            r.column: row[r.column]
            for r in given
            if r.column in row and r.column != "counted" and row[r.column] != r.value
        }
        found[place] = Explanation(row["span_id"], row["name"], VERSION, given, stored)
    return [explanation for explanation in found if explanation is not None]
