"""Reads back, at a writer's start, which spans were written last."""

from __future__ import annotations

from collections.abc import Callable

from anyio import to_thread

from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.schema.arrays import UInt64s
from agenttrace_core.schema.keys import identity_hashes
from agenttrace_core.services.sources import open_table

_COLUMNS = ["project", "trace_id", "span_id", "kind", "service", "start_ns"]


async def recent_identities(
    snapshot: Snapshot, storage: ObjectStorage, limit: int, add: Callable[[UInt64s], None]
) -> None:
    """Call ``add`` with the identity hashes of the newest files' spans, oldest first, about ``limit`` in all."""
    newest = sorted((f for f in snapshot.files if f.kind is FileKind.SPANS), key=_newest_start, reverse=True)
    chosen: list[SegmentFile] = []
    rows = 0
    for file in newest:
        if rows >= limit:
            break
        chosen.append(file)
        rows += file.rows
    for file in reversed(chosen):
        rows_of_file = await open_table(storage, file.objects["light"].key, _COLUMNS)
        add(await to_thread.run_sync(identity_hashes, rows_of_file))


def _newest_start(file: SegmentFile) -> int:
    return max(segment.max_start_ns for segment in file.segments)
