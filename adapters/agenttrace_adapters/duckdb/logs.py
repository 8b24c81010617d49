"""Log records and scores: those of a trace by binary search, those of a project by DuckDB."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_adapters.duckdb.mapped import mapped_table
from agenttrace_adapters.duckdb.objects import Objects
from agenttrace_adapters.duckdb.rows import translated
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.model.segment import FileKind, SegmentFile
from agenttrace_core.ports.index import View
from agenttrace_core.query.scores import PLACE, WITHOUT_ID, EffectiveScores
from agenttrace_core.schema.arrays import Int64s, UInt64s, numbers
from agenttrace_core.schema.keys import trace_words
from agenttrace_core.schema.log_files import scores_of
from agenttrace_core.schema.tables import SCORES

_KEPT_RUNS = 4_096
_KEPT_NAMES = 16
_KEPT_SCORES = 500_000
_COLUMNS = ", ".join(f'"{name}"' for name in SCORES.names)
_KEY = ", ".join(
    ["trace_id", "CASE WHEN trace_id IS NULL THEN session_id END", "id"]
    + [f"CASE WHEN id IS NULL THEN {name} END" for name in WITHOUT_ID]
)
_NEWEST_FIRST = ", ".join(f'"{name}" DESC' for name in PLACE)


_Moment = tuple[str, str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Run:
    """Which rows of a file are which trace's, of one project, sorted by trace id."""

    hi: UInt64s
    lo: UInt64s
    first: Int64s
    count: Int64s

    @classmethod
    def of(cls, file: SegmentFile, project: str, whole: pa.Table) -> _Run:
        """Take what is the project's out of a file's traces object."""
        own = [whole.slice(s.first_trace, s.traces) for s in file.segments if s.project == project]
        table = pa.concat_tables(own)
        hi, lo, first, count = (numbers(table, name) for name in ("trace_hi", "trace_lo", "first_row", "rows"))
        if len(own) > 1:
            order = np.lexsort((lo, hi))
            hi, lo, first, count = hi[order], lo[order], first[order], count[order]
        return cls(hi, lo, first.astype(np.int64), count.astype(np.int64))

    def rows_of(self, hi: np.uint64, lo: np.uint64) -> list[Int64s]:
        """Return the runs of row numbers of a trace."""
        left, right = int(self.hi.searchsorted(hi)), int(self.hi.searchsorted(hi, side="right"))
        return [np.arange(self.first[i], self.first[i] + self.count[i]) for i in range(left, right) if self.lo[i] == lo]


class LogFiles:
    """Finds log records in files, whose tables of traces it keeps mapped for as long as there is room.

    Args:
        objects: where objects are on this machine.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._runs: OrderedDict[tuple[UUID, str], _Run] = OrderedDict()
        self._effective: OrderedDict[_Moment, EffectiveScores] = OrderedDict()

    def known_scores(self, view: View, project: str, name: str) -> EffectiveScores | None:
        """Return the scores of a name as they were kept; None if others have come since, or they are not kept."""
        return self._effective.get(_moment(view, project, name))

    def keep_scores(self, view: View, project: str, name: str, scores: EffectiveScores) -> None:
        """Keep the scores of a name, which panel after panel asks for, in place of older ones."""
        self._effective[_moment(view, project, name)] = scores
        while len(self._effective) > 1 and (
            len(self._effective) > _KEPT_NAMES or sum(map(_size, self._effective.values())) > _KEPT_SCORES
        ):
            self._effective.popitem(last=False)

    async def rows_of(self, view: View, project: str, trace_ids: Sequence[str]) -> list[tuple[SegmentFile, Int64s]]:
        """Return which rows of which files are log records of some traces, ascending in each."""
        words = [trace_words(trace_id) for trace_id in dict.fromkeys(trace_ids)]
        found: list[tuple[SegmentFile, Int64s]] = []
        files = files_of(view, project)
        await self._objects.paths([f.objects["traces"] for f in files if (f.id, project) not in self._runs])
        for file in files:
            run = await self._run(file, project)
            rows = [piece for hi, lo in words for piece in run.rows_of(hi, lo)]
            if rows:
                found.append((file, np.sort(np.concatenate(rows))))
        return found

    async def score_paths(self, view: View, project: str) -> list[Path]:
        """Return the scores objects of a project's files."""
        files = [file for file in files_of(view, project) if "scores" in file.objects]
        return await self._objects.paths([file.objects["scores"] for file in files])

    async def _run(self, file: SegmentFile, project: str) -> _Run:
        key = (file.id, project)
        if key not in self._runs:
            path = await self._objects.path(file.objects["traces"])
            with translated(path):
                whole = mapped_table(path)
            self._runs[key] = _Run.of(file, project, whole)
            while len(self._runs) > _KEPT_RUNS:
                self._runs.popitem(last=False)
        self._runs.move_to_end(key)
        return self._runs[key]


def _moment(view: View, project: str, name: str) -> _Moment:
    """What the scores of a project follow from: the same of two views if no score has come between them."""
    files = (str(file.id) for file in files_of(view, project) if "scores" in file.objects)
    chunks = (chunk.id for chunk in view.live.chunks if len(chunk.logs))
    return project, name, tuple(files), tuple(chunks)


def _size(scores: EffectiveScores) -> int:
    return len(scores.of_spans) + len(scores.of_traces)


def files_of(view: View, project: str) -> list[SegmentFile]:
    """Return the files with log records of a project."""
    return [
        file
        for file in view.snapshot.files
        if file.kind is FileKind.LOGS and any(segment.project == project for segment in file.segments)
    ]


def live_records(view: View, project: str) -> list[pa.Table]:
    """Return the project's log records that are not in files yet, a table a chunk that has any."""
    own = [c.logs.filter(pc.equal(c.logs["project"], pa.scalar(project, pa.string()))) for c in view.live.chunks
           if len(c.logs)]  # fmt: skip
    return [table for table in own if len(table)]


def live_scores(view: View, project: str) -> pa.Table:
    """Return the project's scores that are not in files yet, those that were replaced among them."""
    return pa.concat_tables([SCORES.empty_table(), *(scores_of(table) for table in live_records(view, project))])


def query_scores(
    connection: duckdb.DuckDBPyConnection,
    project: str,
    paths: Sequence[Path],
    live: pa.Table,
    wanted: ScoreSelection,
    limit: int | None,
    before: ScorePlace | None,
) -> pa.Table:
    """Settle a project's scores, and return those that are wanted, newest first."""
    given: dict[str, object] = {"project": project}
    connection.register("scores_live", live)
    parts = [f"SELECT {_COLUMNS} FROM scores_live"]  # noqa: S608 - column names of our own schema
    if paths:
        given["paths"] = [str(path) for path in paths]
        parts.append(f"SELECT {_COLUMNS} FROM read_parquet($paths) WHERE project = $project")  # noqa: S608 - the same
    else:
        del given["project"]
    conditions = _conditions(wanted, before, given)
    statement = (
        f"WITH every AS ({' UNION ALL '.join(parts)}), counting AS (SELECT * FROM every "  # noqa: S608 - the same
        f"QUALIFY row_number() OVER (PARTITION BY {_KEY} ORDER BY {_NEWEST_FIRST}) = 1) "
        f"SELECT {_COLUMNS} FROM counting WHERE {' AND '.join(conditions)} ORDER BY {_NEWEST_FIRST}"
    )
    if limit is not None:
        given["most"] = limit
        statement += " LIMIT $most"
    found: pa.Table = connection.sql(statement, params=given).to_arrow_table()
    return found.cast(SCORES)


def _conditions(wanted: ScoreSelection, before: ScorePlace | None, given: dict[str, object]) -> list[str]:
    conditions = ["TRUE"]
    for name, values in (("trace_id", wanted.trace_ids), ("session_id", wanted.session_ids)):
        if values is not None:
            given[f"{name}s"] = list(values)
            conditions.append(f"list_contains(${name}s, {name})")
    if wanted.name is not None:
        given["name"] = wanted.name
        conditions.append("name = $name")
    for op, bound in ((">=", wanted.during.start_ns), ("<", wanted.during.end_ns)):
        if bound is not None:
            given[f"time{len(op)}"] = bound
            conditions.append(f"time_ns {op} $time{len(op)}")
    if before is not None:
        given |= {f"before_{name}": getattr(before, name) for name in PLACE}
        own, theirs = (
            ", ".join(f"{mark}{name}{end}" for name in PLACE) for mark, end in (('"', '"'), ("$before_", ""))
        )
        conditions.append(f"({own}) < ({theirs})")
    return conditions
