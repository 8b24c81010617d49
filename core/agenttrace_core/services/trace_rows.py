"""The rows of one trace: found, settled, and in order. What every view of a trace begins with."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from anyio import to_thread

from agenttrace_core.errors import NotFoundError
from agenttrace_core.ports.index import SpanIndex
from agenttrace_core.query.amend import AMENDED_COLUMNS
from agenttrace_core.query.resolve import RESOLVE_COLUMNS, resolved
from agenttrace_core.query.settle import ARRIVAL_COLUMNS, needs_arrival, settle
from agenttrace_core.services.sound_files import names_of
from agenttrace_core.services.view import Lag, Seen

_SMALL_ROWS = 2_000
"""Larger traces are put in order in a thread, so that nobody else has to wait."""


async def settled_rows(index: SpanIndex, seen: Seen, project: str, trace_id: str, columns: Sequence[str]) -> pa.Table:
    """Read the rows of a trace, in order, with ``columns`` and ``LOCATION`` among theirs.

    Raises:
        NotFoundError: the project has no such trace.
    """
    # A page that shows what counts, or what that sums up to, must not wait for later arrivals to have their effect.
    decides = set(RESOLVE_COLUMNS) <= set(columns)
    read = tuple(name for name in columns if name not in AMENDED_COLUMNS) if decides else tuple(columns)
    rows = await index.versions(seen.view, project, [trace_id], columns=read)
    if len(rows) == 0:
        raise NotFoundError(f"no trace {trace_id} in project {project!r}{behind(seen.lag)}")
    if needs_arrival(rows):
        both = tuple(dict.fromkeys((*read, *ARRIVAL_COLUMNS)))
        rows = await index.versions(seen.view, project, [trace_id], columns=both)
    finish = _resolved if decides else settle
    return finish(rows) if len(rows) <= _SMALL_ROWS else await to_thread.run_sync(finish, rows)


def _resolved(rows: pa.Table) -> pa.Table:
    return resolved(settle(rows))


def behind(lag: Lag) -> str:
    """Return what to add to the news that something is not there, while not all is readable that was acknowledged."""
    if lag.damaged:
        return f"; but files are damaged and left out: {names_of(lag.damaged)}"
    if not lag.partial:
        return ""
    told = ((lag.lag_bytes, "bytes"), (lag.lag_records, "records"))
    size = next((f" ({count:,} {unit})" for count, unit in told if count is not None), "")
    return f"; but not all that was acknowledged is readable yet{size}: ask again"
