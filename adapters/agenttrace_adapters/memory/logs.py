"""Log records and scores at their plainest: every object is read whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.model.segment import FileKind
from agenttrace_core.ports.index import View
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.query.scores import selected, settled
from agenttrace_core.schema.log_files import scores_of
from agenttrace_core.schema.tables import LOGS, SCORES


async def read_log_records(
    storage: ObjectStorage, view: View, project: str, trace_ids: Sequence[str], columns: Sequence[str] | None
) -> pa.Table:
    """Return the log records of some traces; see the port."""
    wanted = pa.array(sorted(set(trace_ids)), pa.string())
    tables = [table async for table in _tables(storage, view, project)]
    rows = pa.concat_tables([LOGS.empty_table(), *tables])
    rows = rows.filter(pc.is_in(rows["trace_id"], value_set=wanted))
    return rows if columns is None else rows.select(list(columns))


async def read_scores(
    storage: ObjectStorage,
    view: View,
    project: str,
    wanted: ScoreSelection,
    *,
    limit: int | None,
    before: ScorePlace | None,
) -> pa.Table:
    """Return the scores that count; see the port."""
    tables = [scores_of(table) async for table in _tables(storage, view, project)]
    found = selected(settled(pa.concat_tables([SCORES.empty_table(), *tables])), wanted, before)
    return found if limit is None else found.slice(0, limit)


async def _tables(storage: ObjectStorage, view: View, project: str) -> AsyncIterator[pa.Table]:
    for file in view.snapshot.files:
        if file.kind is FileKind.LOGS:
            whole = pq.read_table(pa.BufferReader(await storage.get(file.objects["records"].key))).cast(LOGS)
            yield whole.filter(pc.equal(whole["project"], pa.scalar(project, pa.string())))
    for chunk in view.live.chunks:
        yield chunk.logs.filter(pc.equal(chunk.logs["project"], pa.scalar(project, pa.string())))
