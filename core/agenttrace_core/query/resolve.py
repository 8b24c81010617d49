"""What can be said of a trace's spans only with all of them at hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.query.context import CONTEXT, CONTEXT_COLUMNS, contexts_of
from agenttrace_core.query.counting import COUNTING_COLUMNS, counted_of
from agenttrace_core.schema.arrays import whole
from agenttrace_core.schema.tables import LIGHT

RESOLVE_COLUMNS = tuple(dict.fromkeys((*COUNTING_COLUMNS, *CONTEXT_COLUMNS, "counted", *CONTEXT, "context_ref")))
"""What ``resolved`` reads, or returns anew, of ``LIGHT``."""


def resolved(rows: pa.Table) -> pa.Table:
    """Return all rows of one trace, settled and in order, with ``counted`` and their context as they are by now.

    These columns need not be in ``rows``: nothing is read of them.

    Session and user that neither a span nor its ancestors name are those of the trace: what its root says,
    else the first that does.
    """
    contexts = contexts_of(rows)
    columns: dict[str, pa.Array] = dict(zip(CONTEXT, contexts.names, strict=True))
    roots = np.flatnonzero(np.asarray(rows["parent_span_id"].is_null()))
    speaker = int(roots[0]) if len(roots) else 0
    for own, name in (("session_id", "context_session_id"), ("user_id", "context_user_id")):
        columns[name] = pc.coalesce(columns[name], first_said(whole(rows[own]), speaker))
    columns |= {"counted": counted_of(rows), "context_ref": pa.nulls(len(rows), pa.string())}
    for name, column in columns.items():
        if (place := rows.schema.get_field_index(name)) >= 0:
            rows = rows.set_column(place, LIGHT.field(name), column)
        else:
            rows = rows.append_column(LIGHT.field(name), column)
    return rows


def first_said(column: pa.Array, speaker: int) -> pa.Scalar:
    """Return the speaker's value, else that of the first row which has one, else null."""
    said = np.flatnonzero(np.asarray(column.is_valid()))
    return column[speaker if len(said) == 0 or column[speaker].is_valid else int(said[0])]
