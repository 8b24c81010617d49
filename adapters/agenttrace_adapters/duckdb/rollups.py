"""Roll-ups of files as they are mapped, and which questions they answer as exactly as the rows would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_adapters.duckdb.mapped import mapped_table
from agenttrace_adapters.duckdb.measures import FROM_CELLS, Figures
from agenttrace_adapters.duckdb.predicates import leaves
from agenttrace_adapters.duckdb.rows import translated
from agenttrace_core.model.algebra import EVERY_TRACE, Column, Contains, Field, Interval, Selection
from agenttrace_core.model.segment import Segment
from agenttrace_core.query.buckets import floor_to
from agenttrace_core.schema.arrays import Int64s, UInt64s, numbers, whole
from agenttrace_core.schema.rollup import DIMENSIONS, LISTS, OPEN_AGENTS, ROLLUP

SUMMED = [name for name in ROLLUP.names if name not in LISTS]
"""The columns of cells that DuckDB reads; lists are read where they are mapped."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """What one project has of a file, by cell; and the file's traces, of which cells list rows."""

    source: str
    segments: Sequence[Segment]
    cells: pa.Table
    open_agents: bool
    hi: UInt64s
    lo: UInt64s
    start: Int64s

    @classmethod
    def open(cls, source: str, project: str, segments: Sequence[Segment], path: Path, traces: Path) -> Rollup:
        """Map the objects ``rollup`` and ``traces`` of a file.

        Raises:
            UnavailableError: one is gone.
        """
        with translated(path):
            cells = mapped_table(path)
        with translated(traces):
            ledger = mapped_table(traces)
        metadata = cells.schema.metadata or {}
        # Cells are in the file's order of projects: of several, this one's are a slice.
        mine = np.flatnonzero(np.asarray(pc.equal(whole(cells["project"]), pa.scalar(project, pa.string()))))
        if len(mine) < len(cells):
            cells = cells.take(pa.array(mine)).combine_chunks()
        hi, lo, start = (numbers(ledger, name) for name in ("trace_hi", "trace_lo", "start_ns"))
        return cls(source, segments, cells, metadata.get(OPEN_AGENTS) != b"0", hi, lo, start)

    def holds_for(self, during: Interval, edges: Int64s | None) -> bool:
        """Say whether each window is wholly within the time asked, and within one bucket."""
        for segment in self.segments:
            first, last = segment.min_start_ns, segment.max_start_ns
            if during.start_ns is not None and first < during.start_ns:
                return False
            if during.end_ns is not None and last >= during.end_ns:
                return False
            if edges is not None and len(set(floor_to(np.array([first, last]), edges).tolist())) > 1:
                return False
        return True

    def lists(self, name: str) -> tuple[np.ndarray, Int64s]:
        """Return the values of all cells, one after the other, and where each cell's begin."""
        lists = whole(self.cells[name])
        return lists.values.to_numpy(), lists.offsets.to_numpy()


def asks_for_agents(selection: Selection, group_by: Sequence[Field]) -> bool:
    """Say whether a question is about agents, which ancestors tell that may still come."""
    fields = [*group_by, *(leaf.field for leaf in leaves(selection.spans) if not isinstance(leaf, Contains))]
    return any(isinstance(field, Column) and field.name == "agent" for field in fields)


def answerable(selection: Selection, group_by: Sequence[Field], figures: Figures) -> bool:
    """Say whether cells tell all that a question is about."""
    if selection.traces != EVERY_TRACE or not FROM_CELLS.issuperset(figures.names):
        return False
    found = list(leaves(selection.spans))
    if any(isinstance(leaf, Contains) for leaf in found):
        return False
    fields = [*group_by, *(leaf.field for leaf in found if not isinstance(leaf, Contains))]
    return all(isinstance(field, Column) and field.name in DIMENSIONS for field in fields)
