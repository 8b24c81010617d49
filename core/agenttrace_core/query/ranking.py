"""Pages of groups, in order of a measure: what lists of sessions, models and the like are cut from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Aggregation, Measure, Ranking

ORDERS = (
    Measure.SPANS, Measure.TRACES, Measure.ERRORS, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS, Measure.COST_USD,
    Measure.UNPRICED, Measure.FIRST_NS, Measure.LAST_NS,
)  # fmt: skip
"""The measures that groups may be ranked by: those that are integers, or money."""

_PICO = 12


def aggregation_of(ranking: Ranking) -> Aggregation:
    """Return the question whose answer holds every group of a ranking."""
    check_ranking(ranking)
    return Aggregation(ranking.selection, ranking.measures, ranking.group_by, top_by=ranking.order)


def check_ranking(ranking: Ranking) -> None:
    """Check what cannot be told from types.

    Raises:
        InvalidInputError: groups cannot be ranked by the measure.
    """
    orders = [order for order in ORDERS if order in ranking.measures]
    if ranking.order not in orders:
        raise InvalidInputError(f"sort: lists cannot be sorted by {ranking.order}; use one of {', '.join(orders)}")


def page_of(groups: pa.Table, ranking: Ranking) -> pa.Table:
    """Return the page of ``groups`` (an answer to ``aggregation_of``) that a ranking asks for."""
    dimensions = [f"dim{i}" for i in range(len(ranking.group_by))]
    if ranking.named and dimensions:
        groups = groups.filter(pc.is_valid(groups["dim0"]))
    values = [place_value(v) for v in groups[ranking.order].to_pylist()]
    texts = list(zip(*(groups[d].to_pylist() for d in dimensions), strict=True)) if dimensions else [()] * len(groups)
    keys = [_key(value, dims, ranking.descending) for value, dims in zip(values, texts, strict=True)]
    rows = sorted(range(len(keys)), key=keys.__getitem__)
    if ranking.after is not None:
        value, *dims = ranking.after
        last = _key(int(value or 0), tuple(None if d is None else str(d) for d in dims), ranking.descending)
        rows = [row for row in rows if keys[row] > last]
    return groups.select([*dimensions, *ranking.measures]).take(pa.array(rows[: ranking.limit], pa.int64()))


def place_value(value: Any) -> int:
    """Return a value to rank by as an integer: money in 1e-12 dollars, nothing as 0."""
    return int(value.scaleb(_PICO)) if isinstance(value, Decimal) else int(value or 0)


def _key(value: int, dims: tuple[str | None, ...], descending: bool) -> tuple[int, list[tuple[bool, str]]]:
    return -value if descending else value, [(text is None, text or "") for text in dims]
