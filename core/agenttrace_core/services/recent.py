"""Reads back, at a writer's start, which spans were written last."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from anyio import to_thread

from agenttrace_core.errors import CorruptionError, NotFoundError
from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.sound_files import SoundFiles
from agenttrace_core.services.sources import open_table

_COLUMNS = ["project", "trace_id", "span_id", "kind", "service", "start_ns"]


async def recent_rows(
    snapshot: Snapshot, storage: ObjectStorage, limit: int, add: Callable[[pa.Table], None], sound: SoundFiles
) -> None:
    """Call ``add``, off the event loop, with columns of the newest files' spans, oldest first, about ``limit`` in all.

    They are those that ``identity_hashes`` reads. What cannot be read is left out: a span in it that is sent again
    counts as new.
    """
    newest = sorted((f for f in snapshot.files if f.kind is FileKind.SPANS), key=_newest_start, reverse=True)
    chosen: list[SegmentFile] = []
    rows = 0
    for file in newest:
        if rows >= limit:
            break
        chosen.append(file)
        rows += file.rows
    for file in reversed(chosen):
        stored = file.objects["light"]
        try:
            rows_of_file = await open_table(storage, stored, _COLUMNS)
        except (CorruptionError, NotFoundError, pa.ArrowInvalid, OSError) as error:
            if not await sound.examine(CorruptionError(f"{stored.key}: {error}")):
                raise
            continue
        await to_thread.run_sync(add, rows_of_file)


def _newest_start(file: SegmentFile) -> int:
    return max(segment.max_start_ns for segment in file.segments)
