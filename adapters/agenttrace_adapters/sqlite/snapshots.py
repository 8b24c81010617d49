"""Snapshots, read by difference: a commit costs its reader what changed, not what there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from sqlite3 import Connection
from uuid import UUID

import pyarrow as pa

from agenttrace_adapters.sqlite.rows import decode_row_numbers, decode_segments
from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot, StoredObject, Superseded


class SnapshotReader:
    """The newest snapshot that one process has read, brought up to date on demand."""

    def __init__(self) -> None:
        self._newest = Snapshot(version=-1)
        self._files: dict[str, SegmentFile] = {}
        self._superseded: dict[str, dict[str, Superseded]] = {}

    def read(self, db: Connection) -> Snapshot:
        """Return the catalog as the transaction sees it."""
        version, clean_version = db.execute("SELECT version, clean_version FROM catalog").fetchone()
        if version == self._newest.version:
            return self._newest
        if self._newest.version < clean_version:
            self._reset()
        try:
            self._update(db, self._newest.version)
        except BaseException:
            self._reset()  # half of a difference must not be added once more
            raise
        self._newest = Snapshot(
            version=version,
            watermarks=dict(db.execute("SELECT partition_number, next_offset FROM watermarks")),
            files=tuple(self._files.values()),
            superseded=tuple(s for by_project in self._superseded.values() for s in by_project.values()),
        )
        return self._newest

    def _reset(self) -> None:
        self._newest = Snapshot(version=-1)
        self._files = {}
        self._superseded = {}

    def _update(self, db: Connection, since: int) -> None:
        for (file_id,) in db.execute("SELECT id FROM files WHERE dead_version > ?", (since,)):
            self._files.pop(file_id, None)
            self._superseded.pop(file_id, None)
        self._files.update(_read_files(db, since))
        for file_id, by_project in _read_superseded(db, since).items():
            known = self._superseded.setdefault(file_id, {})
            for project, new in by_project.items():
                known[project] = _merge([known[project], *new] if project in known else new)


def _read_files(db: Connection, since: int) -> dict[str, SegmentFile]:
    objects: defaultdict[str, dict[str, StoredObject]] = defaultdict(dict)
    for file_id, role, *stored in db.execute(
        "SELECT o.file_id, o.role, o.object_key, o.size, o.checksum FROM files f JOIN file_objects o"
        " ON o.file_id = f.id WHERE f.state = 'live' AND f.live_version > ?",
        (since,),
    ):
        objects[file_id][role] = StoredObject(*stored)
    found = db.execute(
        "SELECT id, kind, level, normaliser, segments FROM files WHERE state = 'live' AND live_version > ?"
        " ORDER BY live_version, id",
        (since,),
    )
    return {
        file_id: SegmentFile(
            UUID(file_id), FileKind(kind), level, normaliser, objects[file_id], decode_segments(segments)
        )
        for file_id, kind, level, normaliser, segments in found
    }


def _read_superseded(db: Connection, since: int) -> dict[str, dict[str, list[Superseded]]]:
    found: defaultdict[str, defaultdict[str, list[Superseded]]] = defaultdict(lambda: defaultdict(list))
    for file_id, project, rows, traces in db.execute(
        "SELECT file_id, project, row_numbers, traces_ipc FROM superseded WHERE version > ? ORDER BY version, position",
        (since,),
    ):
        found[file_id][project].append(Superseded(UUID(file_id), project, decode_row_numbers(rows), traces))
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
