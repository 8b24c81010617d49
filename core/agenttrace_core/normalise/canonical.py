"""A batch's canonical columns: what the rules give, made to fit together."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.span import Quality
from agenttrace_core.normalise.attributes import Batch
from agenttrace_core.normalise.failures import failures
from agenttrace_core.normalise.others import attributes_map
from agenttrace_core.normalise.promote import Filled, promote
from agenttrace_core.normalise.totals import with_parts
from agenttrace_core.schema.arrays import Bools
from agenttrace_core.schema.tables import LIGHT
from agenttrace_core.wire.quality import mark

_FETCH: Final = pa.scalar("fetch_response", pa.string())
_ROOT: Final = "0" * 16


def canonical(batch: Batch, ids: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Return all columns of ``LIGHT`` that attributes give, and those of ``ids`` as they are then.

    ``ids`` holds ``span_id``, ``parent_span_id`` and ``duration_ns``. ``batch.quality`` is marked.
    """
    filled = promote(batch)
    columns = {name: column.values for name, column in filled.items() if name in LIGHT.names}
    totals, _ = with_parts(filled)
    columns |= totals
    uncounted = np.asarray(filled["uncounted"].values.is_valid())
    mark(batch.quality, uncounted, Quality.COUNTED_BELOW)
    columns["counted"] = _counted(columns, uncounted)
    columns["attributes"], columns["more_attributes"] = attributes_map(batch)
    types, columns["error_group"] = failures(batch.failed, batch.raw)
    columns["error_type"] = pc.coalesce(columns["error_type"], types)
    return columns | _state(batch, filled, ids)


def _counted(columns: dict[str, pa.Array], uncounted: Bools) -> pa.Array:
    """True where a row has tokens or a cost, false where its own dialect says that they are told elsewhere."""
    names = ("input_tokens", "output_tokens", "given_cost_usd")
    uncounted = uncounted | np.asarray(pc.equal(columns["operation"], _FETCH).fill_null(False))
    has_some = np.logical_or.reduce([np.asarray(columns[name].is_valid()) for name in names])
    return pa.array(~uncounted, mask=~has_some)


def _state(batch: Batch, filled: dict[str, Filled], ids: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Mark the rows of spans that run; let a span's stand-in take its place, so that the span itself replaces it."""
    running = np.asarray(filled["running"].values.is_valid())
    if not running.any():
        return ids
    mark(batch.quality, running, Quality.RUNNING)
    columns = ids | {"duration_ns": pc.if_else(pa.array(running), pa.scalar(None, pa.int64()), ids["duration_ns"])}
    stand_in = np.asarray(filled["stands_for_parent"].values.is_valid()) & np.asarray(ids["parent_span_id"].is_valid())
    if stand_in.any():
        above = _valid_ids(filled["stands_below"].values)
        columns["span_id"] = pc.if_else(pa.array(stand_in), ids["parent_span_id"], ids["span_id"])
        columns["parent_span_id"] = pc.if_else(pa.array(stand_in), above, ids["parent_span_id"])
    return columns


def _valid_ids(texts: pa.StringArray) -> pa.StringArray:
    texts = pc.utf8_lower(texts)
    good: Bools = np.asarray(pc.match_substring_regex(texts, "^[0-9a-f]{16}$").fill_null(False))
    good &= ~np.asarray(pc.equal(texts, pa.scalar(_ROOT)).fill_null(False))
    return pc.if_else(pa.array(good), texts, pa.scalar(None, pa.string()))
