"""What files and chunks say of rows written before, found by trace; see ``agenttrace_core.query.amend``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from agenttrace_adapters.duckdb.runs import TraceRun
from agenttrace_core.query.amend import (
    AMENDED_COLUMNS,
    amended,
    arrival_keys,
    flips_as_traces,
    trace_keys,
)  # fmt: skip
from agenttrace_core.query.tree import trace_keys_of_rows
from agenttrace_core.schema.arrays import UInt64s, numbers
from agenttrace_core.schema.keys import mixed
from agenttrace_core.schema.tables import CONTEXTS, FLIPS

CHANGES = {"flips": FLIPS, "contexts": CONTEXTS}
"""The tables of changes, by the name of the object that holds one."""


class ChangeRun:
    """Flips or contexts of one project from one file or chunk, at least one.

    ``table`` is ordered by ``keys``, which are those of the traces.
    """

    def __init__(self, table: pa.Table) -> None:
        keys = trace_keys(table)
        order = np.argsort(keys, kind="stable")
        self.table, self.keys = table.take(pa.array(order)).combine_chunks(), keys[order]

    def of(self, traces: UInt64s) -> pa.Table | None:
        """Return the rows of some traces, given by key; None if there are none."""
        left, right = self.keys.searchsorted(traces), self.keys.searchsorted(traces, side="right")
        counts = right - left
        if not counts.any():
            return None
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(left, counts)
        return self.table.take(pa.array(place))

    @cached_property
    def marks(self) -> UInt64s:
        """A number for what each row says."""
        if self.table.schema.equals(FLIPS):
            return mixed(arrival_keys(self.table) ^ numbers(self.table, "input_tokens").view(np.uint64))
        ended = np.asarray(self.table["ended"]).astype(np.uint64)
        return mixed(mixed(self.keys ^ numbers(self.table, "span")) ^ (numbers(self.table, "ref") << ended))

    @cached_property
    def corrections(self) -> TraceRun:
        """What flips add to the ledger."""
        return TraceRun.of("", flips_as_traces(self.table))


@dataclass(frozen=True, slots=True)
class Changes:
    """All of one project in one view."""

    flips: Sequence[ChangeRun] = ()
    contexts: Sequence[ChangeRun] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.flips or self.contexts)

    def amend(self, rows: pa.Table) -> pa.Table:
        """Return rows that hold ``AMENDING_COLUMNS`` as they are by now."""
        if not self or len(rows) == 0:
            return rows
        traces = np.unique(trace_keys_of_rows(rows))
        told = [
            pa.concat_tables([schema.empty_table(), *(t for run in runs if (t := run.of(traces)) is not None)])
            for schema, runs in ((FLIPS, self.flips), (CONTEXTS, self.contexts))
        ]
        return amended(rows, *told) if any(map(len, told)) else rows

    def differing(self, rows: pa.Table) -> pa.Table:
        """Return of rows those that are not as they were written any more, as they are by now."""
        now = self.amend(rows.combine_chunks())
        if now is rows:
            return rows.slice(0, 0)
        changed = np.zeros(len(rows), np.bool_)
        for name in AMENDED_COLUMNS:
            was, by_now = rows[name].combine_chunks(), now[name].combine_chunks()
            same = pc.or_kleene(pc.equal(was, by_now), pc.and_(was.is_null(), by_now.is_null()))
            changed |= ~np.asarray(same.fill_null(False))
        return now.filter(pa.array(changed))

    def traces(self) -> ChangedTraces:
        """Return the traces of which anything is said."""
        runs = [*self.flips, *self.contexts]
        hi, lo = (np.concatenate([numbers(run.table, name) for run in runs]) for name in ("trace_hi", "trace_lo"))
        keys, first, group = np.unique(
            np.concatenate([run.keys for run in runs]), return_index=True, return_inverse=True
        )
        marks = np.zeros(len(keys), np.uint64)
        np.add.at(marks, group, np.concatenate([run.marks for run in runs]))
        return ChangedTraces(hi[first], lo[first], marks)


@dataclass(frozen=True, slots=True)
class ChangedTraces:
    """Traces of which something is said, and for each a number that changes when that changes."""

    hi: UInt64s
    lo: UInt64s
    marks: UInt64s

    def signature(self, sums: pa.Table) -> bytes:
        """Return what tells whether anything has changed for traces of a source, whose ledger rows are given."""
        own = np.isin(self.hi, numbers(sums, "trace_hi"))
        return xxhash.xxh3_128_digest(self.hi[own].tobytes() + self.marks[own].tobytes())
