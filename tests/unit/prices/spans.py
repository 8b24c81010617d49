"""Spans as the columns that prices are computed of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from agenttrace_core.normalise.prices.counts import USAGE
from agenttrace_core.schema.tables import LIGHT

RECEIVED_NS = 1_767_225_600_000_000_000


def columns_of(spans: Sequence[dict[str, Any]]) -> dict[str, pa.Array]:
    """Return spans, given by what they say, as the columns of ``LIGHT`` that ``Pricing.costs`` reads."""
    names = ("provider", "model", "start_ns", *USAGE)
    columns = {n: pa.array([span.get(n) for span in spans], LIGHT.field(n).type) for n in names}
    return columns | {"received_ns": pa.array([RECEIVED_NS] * len(spans), pa.int64())}
