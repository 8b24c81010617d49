"""What is told of a group, as expressions: sums over rows, sums of sums, and what a measure is of those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.fields import Parameters, field_sql
from agenttrace_core.model.algebra import Column, Measure
from agenttrace_core.schema.usage import MONEY_SUM

# Not greatest(), which takes what is null for the least there is.
_TOOK = "CASE WHEN duration_ns < 0 THEN 0 ELSE duration_ns END"
_GENERATES = "counted AND output_tokens > 0 AND duration_ns > 0"
_HAS_TOKENS = "(input_tokens IS NOT NULL OR output_tokens IS NOT NULL)"

_NO_COST = "0::DECIMAL(38, 12)"
_OF_ROWS: Mapping[str, str] = {
    "spans": "count(*)",
    "errors": "count(*) FILTER (status = 'error')",
    **{
        name: f"coalesce(sum({name}) FILTER (counted), 0)"
        for name in (
            "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
        )
    },
    "cost_usd": f"coalesce(sum(cost_usd) FILTER (counted), {_NO_COST})",
    "given_cost_usd": f"coalesce(sum(given_cost_usd) FILTER (counted), {_NO_COST})",
    "cost_difference_usd": f"coalesce(sum(given_cost_usd - cost_usd) FILTER (counted), {_NO_COST})",
    "unpriced": f"count(*) FILTER (counted AND cost_usd IS NULL AND {_HAS_TOKENS})",
    "timed": "count(duration_ns)",
    "duration_ns": f"coalesce(sum({_TOOK}), 0)",
    "generated_tokens": f"coalesce(sum(output_tokens) FILTER ({_GENERATES}), 0)",
    "generating_ns": f"coalesce(sum(duration_ns) FILTER ({_GENERATES}), 0)",
}  # fmt: skip
_EXTREMES: Mapping[str, tuple[str, str]] = {
    "first_ns": ("min(coalesce(start_ns, received_ns))", "min(first_ns)"),
    "last_ns": ("max(coalesce(start_ns, received_ns))", "max(last_ns)"),
    "newest": (
        "max({'a': coalesce(start_ns, received_ns), 'b': trace_id, 'c': span_id})",
        "max(newest)",
    ),
}
_MADE_OF: Mapping[Measure, tuple[str, ...]] = {
    Measure.MEAN_NS: ("timed", "duration_ns"),
    Measure.OUTPUT_TOKENS_PER_S: ("generated_tokens", "generating_ns"),
}
_MONEY = {Measure.COST_USD, Measure.GIVEN_COST_USD, Measure.COST_DIFFERENCE_USD}

_LISTED = {
    "durations": _TOOK,
    "first_chunks": "CASE WHEN time_to_first_chunk_ns < 0 THEN 0 ELSE time_to_first_chunk_ns END",
}
QUANTILES = (0.5, 0.95, 0.99)
PERCENTILES: Mapping[Measure, tuple[str, int]] = {
    Measure.P50_NS: ("durations", 0),
    Measure.P95_NS: ("durations", 1),
    Measure.P99_NS: ("durations", 2),
    Measure.TTFC_P50_NS: ("first_chunks", 0),
    Measure.TTFC_P95_NS: ("first_chunks", 1),
}
"""The values that a percentile is of, and which of ``QUANTILES``."""

_NAMED = {"users": Column("user_id"), "sessions": Column("session_id")}

FROM_CELLS = frozenset({*_OF_ROWS, "first_ns", "last_ns", "traces", *_LISTED})
"""The partial figures that a roll-up has too."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The partial figures that some measures are made of, by name: of rows, and of several of themselves.

    Percentiles do not add up. ``direct`` is whether one part has all rows, and its percentiles are the answer's;
    else parts have lists of values, which whoever puts them together replaces by lists of ``QUANTILES``.
    """

    measures: tuple[Measure, ...]
    direct: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The partial figures."""
        found: list[str] = []
        for measure in self.measures:
            if measure in PERCENTILES:
                found.append(PERCENTILES[measure][0])
            else:
                found += _MADE_OF.get(measure, (measure.value,))
        return tuple(dict.fromkeys(found))

    @property
    def lists(self) -> tuple[str, ...]:
        """Those of them that are lists of values."""
        return tuple(name for name in self.names if name in _LISTED)

    def of_rows(self, parameters: Parameters) -> dict[str, str]:
        """Return an expression over rows for each but ``traces``, which rows alone do not tell."""
        return {name: self._of_rows(name, parameters) for name in self.names if name != "traces"}

    def of_parts(self) -> dict[str, str]:
        """Return an expression over partial figures for each but lists of values."""
        return {name: self._of_parts(name) for name in self.names if self.direct or name not in _LISTED}

    def told(self) -> dict[str, str]:
        """Return an expression over the whole figures for each measure."""
        return {measure.value: _told(measure) for measure in self.measures}

    def _of_rows(self, name: str, parameters: Parameters) -> str:
        if name in _LISTED:
            value = _LISTED[name]
            quantiles = f"quantile_cont({value}, {list(QUANTILES)})"
            return quantiles if self.direct else f"list({value}) FILTER ({value} IS NOT NULL)"
        if name in _NAMED:
            value = field_sql(_NAMED[name], parameters).sql
            return f"list(DISTINCT {value}) FILTER ({value} IS NOT NULL)"
        return _EXTREMES[name][0] if name in _EXTREMES else _OF_ROWS[name]

    def _of_parts(self, name: str) -> str:
        if name in _LISTED:
            return f"any_value({name})"
        if name in _NAMED:
            return f"len(list_distinct(flatten(list({name}))))"
        return _EXTREMES[name][1] if name in _EXTREMES else f"sum({name})"


def answer_type(measure: Measure) -> pa.DataType:
    """Return the type that a measure has in an answer."""
    if measure in _MONEY:
        return MONEY_SUM
    if measure is Measure.NEWEST:
        return pa.string()
    is_rate = measure in PERCENTILES or measure in {Measure.MEAN_NS, Measure.OUTPUT_TOKENS_PER_S}
    return pa.float64() if is_rate else pa.int64()


_TOLD: Mapping[Measure, str] = {
    **{measure: f"{name}[{place + 1}]" for measure, (name, place) in PERCENTILES.items()},
    **{measure: f"coalesce({measure.value}, 0)::DECIMAL(38, 12)" for measure in _MONEY},
    Measure.MEAN_NS: "CASE WHEN timed > 0 THEN duration_ns::DOUBLE / timed END",
    Measure.OUTPUT_TOKENS_PER_S: (
        "CASE WHEN generating_ns > 0 THEN generated_tokens::DOUBLE / (generating_ns::DOUBLE / 1e9) END"
    ),
    Measure.NEWEST: "newest.b || '/' || newest.c",
    Measure.FIRST_NS: "first_ns",
    Measure.LAST_NS: "last_ns",
}


def _told(measure: Measure) -> str:
    # Senders may claim any number of tokens: what leaves 64 bits is told as the greatest that does not.
    return _TOLD.get(measure, f"least(coalesce({measure.value}, 0), {np.iinfo(np.int64).max})::BIGINT")
