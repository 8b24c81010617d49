"""Search inside of one trace."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.ports.index import SpanIndex
from agenttrace_core.query.settle import SETTLE_COLUMNS
from agenttrace_core.schema.arrays import Bools, whole
from agenttrace_core.services.trace_rows import settled_rows
from agenttrace_core.services.view import Seen

_TEXTS = ("name", "status_message", "input_preview", "output_preview")


async def matching(index: SpanIndex, seen: Seen, project: str, trace_id: str, query: str) -> Bools:
    """Return which spans of a trace, settled and in order, a query selects."""
    columns = tuple(dict.fromkeys((*SETTLE_COLUMNS, *_TEXTS, "attributes")))
    rows = await settled_rows(index, seen, project, trace_id, columns)
    found = np.zeros(len(rows), np.bool_)
    for name in _TEXTS:
        found |= _holds(whole(rows[name]), query)
    attributes = whole(rows["attributes"])
    before = np.concatenate([[0], np.cumsum(_holds(attributes.items, query))])
    ends = before[attributes.offsets.to_numpy()]
    found |= ends[1:] > ends[:-1]
    return found


def _holds(texts: pa.Array, sought: str) -> Bools:
    return np.asarray(pc.match_substring(texts, sought, ignore_case=True).fill_null(False))
