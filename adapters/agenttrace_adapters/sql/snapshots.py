"""Snapshots, read by difference: a commit costs its reader what changed, not what there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import pyarrow as pa

from agenttrace_adapters.sql.rows import decode_row_numbers, decode_segments
from agenttrace_adapters.sql.statements import Query, Rows, Steps
from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot, StoredObject, Superseded


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from version ``since`` (-1: everything) to ``version``, as rows of the tables."""

    since: int
    version: int
    watermarks: Rows = ()
    dead: Rows = ()
    files: Rows = ()
    objects: Rows = ()
    superseded: Rows = ()
    moves: Rows = ()


def read_difference(since: int) -> Steps[Difference]:
    """Read what changed, within a transaction whose statements all see the same moment."""
    ((version, clean_version),) = yield Query("SELECT version, clean_version FROM catalog")
    if version == since:
        return Difference(since, version)
    if since < clean_version:
        since = -1
    watermarks = yield Query("SELECT partition_number, next_offset FROM watermarks")
    dead = yield Query("SELECT id FROM files WHERE dead_version > ?", since)
    files = yield Query(
        "SELECT id, kind, level, normaliser, segments FROM files WHERE state = 'live' AND live_version > ?"
        " ORDER BY live_version, id",
        since,
    )
    objects = yield Query(
        "SELECT o.file_id, o.role, o.object_key, o.size, o.checksum FROM files f JOIN file_objects o"
        " ON o.file_id = f.id WHERE f.state = 'live' AND f.live_version > ?",
        since,
    )
    superseded = yield Query(
        "SELECT file_id, project, row_numbers, traces_ipc FROM superseded WHERE version > ? ORDER BY version, position",
        since,
    )
    moves = yield Query("SELECT offset_base FROM moves")
    return Difference(since, version, watermarks, dead, files, objects, superseded, moves)


class SnapshotReader:
    """The newest snapshot that one process has read, brought up to date on demand, by one thread at a time."""

    def __init__(self) -> None:
        self._newest = Snapshot(version=-1)
        self._files: dict[str, SegmentFile] = {}
        self._superseded: dict[str, dict[str, Superseded]] = {}

    @property
    def newest(self) -> Snapshot:
        """What was last returned; of version -1 before that."""
        return self._newest

    @property
    def version(self) -> int:
        """The version of the newest snapshot."""
        return self._newest.version

    def apply(self, difference: Difference) -> Snapshot:
        """Return the catalog as the difference, read since ``version``, leaves it."""
        if difference.version == self._newest.version:
            return self._newest
        if difference.since != self._newest.version:
            self._reset()
        try:
            self._update(difference)
        except BaseException:
            self._reset()  # half of a difference must not be added once more
            raise
        self._newest = Snapshot(
            version=difference.version,
            watermarks=dict(difference.watermarks),
            files=tuple(self._files.values()),
            superseded=tuple(s for by_project in self._superseded.values() for s in by_project.values()),
            offset_base=difference.moves[0][0] if difference.moves else 0,
        )
        return self._newest

    def _reset(self) -> None:
        self._newest = Snapshot(version=-1)
        self._files = {}
        self._superseded = {}

    def _update(self, difference: Difference) -> None:
        for (file_id,) in difference.dead:
            self._files.pop(file_id, None)
            self._superseded.pop(file_id, None)
        self._files.update(_decode_files(difference.files, difference.objects))
        for file_id, by_project in _decode_superseded(difference.superseded).items():
            known = self._superseded.setdefault(file_id, {})
            for project, new in by_project.items():
                known[project] = _merge([known[project], *new] if project in known else new)


def _decode_files(files: Rows, objects: Rows) -> dict[str, SegmentFile]:
    objects_of: defaultdict[str, dict[str, StoredObject]] = defaultdict(dict)
    for file_id, role, *stored in objects:
        objects_of[file_id][role] = StoredObject(*stored)
    return {
        file_id: SegmentFile(
            UUID(file_id), FileKind(kind), level, normaliser, objects_of[file_id], decode_segments(segments)
        )
        for file_id, kind, level, normaliser, segments in files
    }


def _decode_superseded(rows: Rows) -> dict[str, dict[str, list[Superseded]]]:
    found: defaultdict[str, defaultdict[str, list[Superseded]]] = defaultdict(lambda: defaultdict(list))
    for file_id, project, numbers, traces in rows:
        found[file_id][project].append(Superseded(UUID(file_id), project, decode_row_numbers(numbers), traces))
    return {file_id: dict(by_project) for file_id, by_project in found.items()}


def _merge(parts: Sequence[Superseded]) -> Superseded:
    if len(parts) == 1:
        return parts[0]
    rows = tuple(sorted({row for part in parts for row in part.rows}))
    return replace(parts[0], rows=rows, traces_ipc=_join([part.traces_ipc for part in parts if part.traces_ipc]))


def _join(streams: Sequence[bytes]) -> bytes:
    """Return one Arrow IPC stream with the rows of all."""
    if len(streams) < 2:
        return b"".join(streams)
    table = pa.concat_tables([pa.ipc.open_stream(stream).read_all() for stream in streams]).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
