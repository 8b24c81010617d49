"""What a view consists of, in the form that the index searches, kept for as long as views name it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from anyio import to_thread

from agenttrace_adapters.duckdb.changes import CHANGES, ChangedTraces, ChangeRun, Changes
from agenttrace_adapters.duckdb.mapped import mapped_table
from agenttrace_adapters.duckdb.objects import Objects
from agenttrace_adapters.duckdb.ranged import ObjectRows, footer_of
from agenttrace_adapters.duckdb.rollups import Rollup
from agenttrace_adapters.duckdb.rows import ParquetRows, lacks, translated
from agenttrace_adapters.duckdb.runs import TraceRun
from agenttrace_adapters.duckdb.spans import AMENDED
from agenttrace_adapters.duckdb.trace_names import NAMED, trace_names
from agenttrace_core.model.segment import FileKind, Segment, SegmentFile, Snapshot, StoredObject, Superseded
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveChunk
from agenttrace_core.query.amend import AMENDING_COLUMNS
from agenttrace_core.schema.arrays import Int64s, numbers
from agenttrace_core.schema.files import read_ipc_stream
from agenttrace_core.schema.tables import LIGHT, LOGS, PAYLOAD

_SCHEMAS = {"light": LIGHT, "payload": PAYLOAD, "records": LOGS}
_OPEN_OBJECTS = 256
_OPEN_WEIGHT = 100_000
_VIEWS = 4
_SEGMENTS_AS_THEY_ARE = 4
"""A project's segments in one file that are searched one by one; of more, one run is made."""


@dataclass(frozen=True, slots=True)
class Sources:
    """One project's part of a view."""

    files: Sequence[TraceRun]
    live: Sequence[TraceRun]
    corrections: Sequence[TraceRun]
    changes: Changes

    @property
    def found_in(self) -> list[TraceRun]:
        """The runs by whose rows a trace is found."""
        return [*self.files, *self.live]


@dataclass(slots=True)
class _Known:
    """A view, and what has been made of it. Superseded and dead rows by source, ascending."""

    view: View
    files: dict[str, SegmentFile]
    chunks: dict[str, LiveChunk]
    dropped: dict[str, Int64s]
    superseded: list[Superseded]
    of_project: dict[str, Sources] = field(default_factory=dict)
    names: dict[str, pa.Table] = field(default_factory=dict)


class SourceCache:
    """Opens what views name, once, and lets go of what the newest view does not name any more."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._views: OrderedDict[int, _Known] = OrderedDict()
        self._file_runs: dict[UUID, dict[str, list[TraceRun]]] = {}
        self._rollups: dict[UUID, dict[str, Rollup]] = {}
        self._chunk_runs: dict[str, tuple[pa.Table, dict[str, TraceRun | None]]] = {}
        self._segments: tuple[Snapshot, dict[str, list[tuple[SegmentFile, list[Segment]]]]] | None = None
        self._corrections: dict[int, tuple[Superseded, TraceRun]] = {}
        self._changes: dict[str, dict[tuple[str, str], ChangeRun | None]] = {}
        self._lacking: dict[UUID, bool] = {}
        self._amended: dict[tuple[str, str], tuple[bytes, pa.Table]] = {}
        self._open: OrderedDict[tuple[str, str], ObjectRows] = OrderedDict()
        self._open_weight = 0

    def close(self) -> None:
        """Let go of everything."""
        for rows in self._open.values():
            rows.close()
        held_maps = (
            self._views, self._file_runs, self._rollups, self._chunk_runs, self._corrections, self._open,
            self._changes, self._amended, self._lacking,
        )  # fmt: skip
        for held in held_maps:
            held.clear()
        self._segments = None
        self._open_weight = 0

    async def of_project(self, view: View, project: str) -> Sources:
        """Return where the traces of ``project`` are."""
        known = self._look(view)
        if project not in known.of_project:
            named = self._by_project(view.snapshot).get(project, ())
            # Of what is elsewhere, fetched side by side, and then found one by one.
            await self.paths([f for f, _ in named if project not in self._file_runs.get(f.id, {})], "traces")
            files = [run for f, s in named for run in await self._file(f, s)]
            live = [run for chunk in view.live.chunks if (run := self._chunk(chunk, project)) is not None]
            superseded = [self._correction(s) for s in known.superseded if s.project == project]
            changes = await self._changes_of(view, project)
            corrections = [*(run for run in superseded if len(run.hi)), *(run.corrections for run in changes.flips)]
            known.of_project[project] = Sources(files, live, corrections, changes)
        return known.of_project[project]

    def files_of(self, view: View, project: str) -> Sequence[tuple[SegmentFile, Sequence[Segment]]]:
        """Return the files that have spans of a project, and what segments of each are the project's."""
        return self._by_project(view.snapshot).get(project, ())

    async def runs(self, file: SegmentFile, segments: Sequence[Segment]) -> Sequence[TraceRun]:
        """Return the ledger of segments of one project in one file, in their order: a run for each, or one for all."""
        return await self._file(file, list(segments))

    async def rollups(self, view: View, project: str) -> list[Rollup]:
        """Return the roll-ups of a project's files, of those that have one."""
        found: list[Rollup] = []
        for file, segments in self._by_project(view.snapshot).get(project, ()):
            if "rollup" not in file.objects:
                continue
            known = self._rollups.setdefault(file.id, {})
            if project not in known:
                path, traces = await self.path(file, "rollup"), await self.path(file, "traces")
                known[project] = Rollup.open(str(file.id), project, segments, path, traces)
            found.append(known[project])
        return found

    async def names(self, view: View, project: str) -> pa.Table:
        """Return the names of traces that some of their rows do not have: ``TRACE_NAMES``."""
        known = self._look(view)
        if project not in known.names:
            sources = await self.of_project(view, project)
            lacking = [run for run in sources.found_in if await self._lacks_names(view, run)]
            everywhere = [*sources.found_in, *sources.corrections]
            known.names[project] = await to_thread.run_sync(trace_names, lacking, everywhere)
        return known.names[project]

    async def _lacks_names(self, view: View, run: TraceRun) -> bool:
        file = self.file(view, run.source)
        if file is None:
            rows = self.chunk(view, run.source).rows
            return any(rows[name].null_count for name in NAMED)
        if file.id not in self._lacking:
            # Not by a reader, which would be kept: this is asked of every file, and but once.
            footer = await self.footer(file, "light")
            self._lacking[file.id] = any(lacks(footer, LIGHT, name) for name in NAMED)
        return self._lacking[file.id]

    async def amended(self, view: View, project: str) -> dict[str, pa.Table]:
        """Return, by file, the rows that are not as they were written any more: ``AMENDED``, by row ascending."""
        sources = await self.of_project(view, project)
        if not sources.changes:
            return {}
        changed = sources.changes.traces()
        sums: dict[str, list[pa.Table]] = {}
        for run in sources.files:
            if (own := run.select(changed.hi, changed.lo)) is not None:
                sums.setdefault(run.source, []).append(own)
        found = {source: await self._amended_of(view, project, source, pa.concat_tables(own), sources.changes, changed)
                 for source, own in sums.items()}  # fmt: skip
        return {source: rows for source, rows in found.items() if len(rows)}

    async def _amended_of(
        self, view: View, project: str, source: str, sums: pa.Table, changes: Changes, changed: ChangedTraces
    ) -> pa.Table:
        signature = changed.signature(sums)
        known = self._amended.get((source, project))
        if known is not None and known[0] == signature:
            return known[1]
        first, count = numbers(sums, "first_row").astype(np.int64), numbers(sums, "rows").astype(np.int64)
        rows = np.sort(np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum()))
        file = self.file(view, source)
        assert file is not None, "its ledger was found in a file of the view"
        reader = await self.rows(file, "light")
        differing = await to_thread.run_sync(_differing, await reader.at(rows), rows, source, changes)
        self._amended[source, project] = signature, differing
        return differing

    def dropped(self, view: View, source: str) -> Int64s | None:
        """Return the rows of a file or chunk that are not to be returned, ascending; None if all are."""
        return self._look(view).dropped.get(source)

    def file(self, view: View, source: str) -> SegmentFile | None:
        """Return a file of the view by id, None if that is no file."""
        return self._look(view).files.get(source)

    def chunk(self, view: View, source: str) -> LiveChunk:
        """Return a chunk of the view by id."""
        return self._look(view).chunks[source]

    @property
    def objects(self) -> Objects:
        """Gets at the bytes of objects."""
        return self._objects

    async def rows(self, file: SegmentFile, name: str) -> ObjectRows:
        """Return the reader of a file's ``light``, ``payload`` or ``records`` object."""
        key = (str(file.id), name)
        if key not in self._open:
            opened = await ObjectRows.open(self._objects, file.objects[name], _SCHEMAS[name])
            if key in self._open:  # another query was quicker
                return self._open[key]
            self._open[key] = opened
            self._open_weight += self._open[key].weight
            while len(self._open) > 1 and (len(self._open) > _OPEN_OBJECTS or self._open_weight > _OPEN_WEIGHT):
                self._forget(next(iter(self._open)))
        self._open.move_to_end(key)
        return self._open[key]

    async def path(self, file: SegmentFile, name: str) -> Path:
        """Return where an object of a file is on this machine."""
        return await self._objects.path(file.objects[name])

    async def paths(self, files: Sequence[SegmentFile], name: str) -> list[Path]:
        """Return where an object of each of some files is on this machine."""
        return await self._objects.paths([file.objects[name] for file in files])

    async def footer(self, file: SegmentFile, name: str) -> pq.FileMetaData:
        """Return the footer of one of a file's Parquet objects."""
        return await footer_of(self._objects, file.objects[name])

    def _look(self, view: View) -> _Known:
        known = self._views.get(id(view))
        if known is None:
            known = self._views[id(view)] = _known(view)
            # Long readings pin their view while others come and go: a few are kept side by side.
            while len(self._views) > _VIEWS:
                self._views.popitem(last=False)
            self._let_go()
        return known

    def _let_go(self) -> None:
        kept = self._views.values()
        ids = {file.id for known in kept for file in known.files.values()}
        chunks = {chunk for known in kept for chunk in known.chunks}
        used = {id(s) for known in kept for s in known.superseded}
        for gone in self._lacking.keys() - ids:
            del self._lacking[gone]
        for gone in self._file_runs.keys() - ids:
            del self._file_runs[gone]
        for gone in self._rollups.keys() - ids:
            del self._rollups[gone]
        for key in [key for key in self._open if UUID(key[0]) not in ids]:
            self._forget(key)
        for gone_chunk in self._chunk_runs.keys() - chunks:
            del self._chunk_runs[gone_chunk]
        sources = chunks | {str(file) for file in ids}
        for gone_source in self._changes.keys() - sources:
            del self._changes[gone_source]
        for amended in [key for key in self._amended if key[0] not in sources]:
            del self._amended[amended]
        for unused in self._corrections.keys() - used:
            del self._corrections[unused]

    def _forget(self, key: tuple[str, str]) -> None:
        # Left to be closed when the last read of it has ended.
        self._open_weight -= self._open.pop(key).weight

    def _by_project(self, snapshot: Snapshot) -> dict[str, list[tuple[SegmentFile, list[Segment]]]]:
        if self._segments is None or self._segments[0] is not snapshot:
            self._segments = snapshot, _segments_by_project(snapshot)
        return self._segments[1]

    async def _file(self, file: SegmentFile, segments: list[Segment]) -> list[TraceRun]:
        project = segments[0].project
        runs = self._file_runs.setdefault(file.id, {})
        if project not in runs:
            path = await self._objects.path(file.objects["traces"])
            with translated(path):
                whole = mapped_table(path)
            runs[project] = _file_runs(str(file.id), whole, segments)
        return runs[project]

    def _chunk(self, chunk: LiveChunk, project: str) -> TraceRun | None:
        known = self._chunk_runs.get(chunk.id)
        if known is None or known[0] is not chunk.traces:
            known = self._chunk_runs[chunk.id] = (chunk.traces, {})
        if project not in known[1]:
            own = chunk.traces.filter(pc.equal(chunk.traces["project"], pa.scalar(project, pa.string())))
            known[1][project] = TraceRun.of(chunk.id, own) if len(own) else None
        return known[1][project]

    async def _changes_of(self, view: View, project: str) -> Changes:
        """Read what is said of the project's rows. Most files say nothing."""
        runs: dict[str, list[ChangeRun]] = {name: [] for name in CHANGES}
        for name, own in runs.items():
            for file in view.snapshot.files:
                if name in file.objects:
                    own.extend(await self._change(str(file.id), project, name, file.objects[name]))
            for chunk in view.live.chunks:
                if len(getattr(chunk, name)):
                    own.extend(await self._change(chunk.id, project, name, getattr(chunk, name)))
        return Changes(runs["flips"], runs["contexts"])

    async def _change(self, source: str, project: str, name: str, told: StoredObject | pa.Table) -> list[ChangeRun]:
        known = self._changes.setdefault(source, {})
        if (project, name) not in known:
            if isinstance(told, StoredObject):
                path = await self._objects.path(told)
                with translated(path):
                    told = mapped_table(path)
            own = told.filter(pc.equal(told["project"], pa.scalar(project, pa.string())))
            known[project, name] = ChangeRun(own) if len(own) else None
        run = known[project, name]
        return [] if run is None else [run]

    def _correction(self, superseded: Superseded) -> TraceRun:
        if id(superseded) not in self._corrections:
            run = TraceRun.of("", read_ipc_stream(superseded.traces_ipc))
            self._corrections[id(superseded)] = superseded, run
        return self._corrections[id(superseded)][1]


def _differing(reader: ParquetRows, rows: Int64s, source: str, changes: Changes) -> pa.Table:
    table = reader.twin().take(rows, AMENDING_COLUMNS)
    table = table.append_column("source", pa.repeat(pa.scalar(source, pa.string()), len(rows)))
    return changes.differing(table.append_column("row", pa.array(rows))).select(AMENDED.names).cast(AMENDED)


def _known(view: View) -> _Known:
    files = {str(file.id): file for file in view.snapshot.files}
    superseded = [s for s in (*view.snapshot.superseded, *view.live.superseded) if str(s.file_id) in files]
    dropped: dict[str, set[int]] = {chunk: set(rows) for chunk, rows in view.live.dead.items()}
    for s in superseded:
        dropped.setdefault(str(s.file_id), set()).update(s.rows)
    return _Known(
        view=view,
        files=files,
        chunks={chunk.id: chunk for chunk in view.live.chunks},
        dropped={source: np.array(sorted(rows), np.int64) for source, rows in dropped.items() if rows},
        superseded=superseded,
    )


def _segments_by_project(snapshot: Snapshot) -> dict[str, list[tuple[SegmentFile, list[Segment]]]]:
    found: dict[str, list[tuple[SegmentFile, list[Segment]]]] = {}
    for file in snapshot.files:
        if file.kind is not FileKind.SPANS:
            continue
        of_file: dict[str, list[Segment]] = {}
        for segment in file.segments:
            of_file.setdefault(segment.project, []).append(segment)
        for project, segments in of_file.items():
            found.setdefault(project, []).append((file, segments))
    return found


def _file_runs(source: str, whole: pa.Table, segments: list[Segment]) -> list[TraceRun]:
    pieces = [whole.slice(s.first_trace, s.traces) for s in segments]
    if len(segments) > _SEGMENTS_AS_THEY_ARE:
        return [TraceRun.of(source, pa.concat_tables(pieces).combine_chunks())]
    return [
        TraceRun.of_sorted(source, piece, s.min_start_ns, s.max_start_ns)
        for piece, s in zip(pieces, segments, strict=True)
    ]
