"""Totals and their parts: columns hold totals that include their parts, whatever the sender counts.

OpenTelemetry's input includes what was cached and its output the reasoning; others leave them out. What
leaves them out is found by the rule that gave the value (``exclusive``), and by the numbers themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from agenttrace_core.normalise.promote import Filled
from agenttrace_core.normalise.rules import RULES
from agenttrace_core.schema.arrays import Bools, Int64s

PARTS: Final = {"input_tokens": ("cache_read_tokens", "cache_write_tokens"), "output_tokens": ("reasoning_tokens",)}
"""Each total, and the parts that a sender may leave out of it."""

_EXCLUSIVE: Final = {
    rule.column: np.array([source.exclusive for source in rule.sources] + [False])
    for rule in RULES
    if rule.column in PARTS
}


def with_parts(columns: Mapping[str, Filled]) -> tuple[dict[str, pa.Array], dict[str, Bools]]:
    """Return the totals with their parts, and which rows' totals had to be mended."""
    parts = {total: _part(columns, names) for total, names in PARTS.items()}
    none = np.zeros(len(columns["input_tokens"].values), np.bool_)
    if not any(part.any() for part in parts.values()):
        return {total: columns[total].values for total in PARTS}, dict.fromkeys(PARTS, none)
    lacking = _lacking(columns, parts)
    return {total: _add(columns[total].values, parts[total], lacking[total]) for total in PARTS}, lacking


def _lacking(columns: Mapping[str, Filled], parts: Mapping[str, Int64s]) -> dict[str, Bools]:
    """Say whose totals leave their parts out, by rule, corrected by what the numbers prove."""
    own = {total: _number(columns[total].values) for total in PARTS}
    lacking = {total: _EXCLUSIVE[total][columns[total].source] for total in PARTS}
    given = _number(columns["evidence_total"].values)
    bare = own["input_tokens"] + own["output_tokens"]
    inputs, outputs = parts["input_tokens"], parts["output_tokens"]
    # A total over both tells, as far as it tells one reading from another.
    for total, missing in (("input_tokens", inputs), ("output_tokens", outputs)):
        other = inputs + outputs - missing
        includes = (given == bare) | ((given == bare + other) & (other != missing))
        leaves_out = ((given == bare + missing) & (other != missing)) | (given == bare + inputs + outputs)
        told = (given > 0) & (missing > 0) & (includes != leaves_out)
        lacking[total] = np.where(told, leaves_out, lacking[total])
    uncached = columns["evidence_uncached"].values
    lacking["input_tokens"] |= np.asarray(uncached.is_valid()) & (_number(uncached) == own["input_tokens"])
    for total in PARTS:
        # Nothing is less than its parts.
        lacking[total] |= own[total] < parts[total]
        lacking[total] &= (parts[total] > 0) & np.asarray(columns[total].values.is_valid())
    return lacking


def _part(columns: Mapping[str, Filled], names: tuple[str, ...]) -> Int64s:
    whole: Int64s = np.sum([_number(columns[name].values) for name in names], axis=0)
    return whole


def _number(column: pa.Array) -> Int64s:
    return column.fill_null(0).to_numpy()


def _add(column: pa.Array, part: Int64s, where: Bools) -> pa.Array:
    if not where.any():
        return column
    return pa.array(_number(column) + np.where(where, part, 0), mask=np.asarray(column.is_null()))
