"""What a selection leaves, where light rows alone cannot say it: traces by all of their spans, rows by payloads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.parts import Part
from agenttrace_adapters.duckdb.predicates import is_decided
from agenttrace_adapters.duckdb.questions import ProjectSpans
from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import EVERY_TRACE, Interval, Selection, TraceSearch
from agenttrace_core.query.evaluate import matches, needed_columns
from agenttrace_core.schema.arrays import Bools, numbers
from agenttrace_core.schema.keys import hex_strings
from agenttrace_core.schema.tables import LIGHT, LOCATION

MAX_TRACES = 500_000
"""Traces that a trace predicate may select for figures."""

_CHECKED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """Tables that narrow a selection down; None where nothing need be narrowed.

    ``traces`` holds the ids of those that satisfy the trace predicate. ``rows`` (``LOCATION``) are those that
    satisfy the span predicate, of which its condition in SQL would not be sure.
    """

    traces: pa.Table | None = None
    rows: pa.Table | None = None


async def chosen(project: ProjectSpans, selection: Selection) -> Chosen:
    """Find out what must be known of a selection before rows are grouped.

    Raises:
        InvalidInputError: too many traces satisfy the trace predicate.
    """
    traces = None if selection.traces == EVERY_TRACE else await _traces(project, selection)
    rows = None if is_decided(selection.spans) else await _rows(project, selection)
    return Chosen(traces, rows)


async def _traces(project: ProjectSpans, selection: Selection) -> pa.Table:
    # A trace that starts before may have spans within; none that starts after has.
    during = Interval(None, selection.during.end_ns)
    search = TraceSearch(selection.traces, during, limit=MAX_TRACES + 1, as_of=selection.as_of)
    found = await project.search(search)
    if len(found) > MAX_TRACES:
        raise InvalidInputError(f"trace{{…}} selects more than {MAX_TRACES:,} traces: ask for fewer, or a shorter time")
    words = np.stack([numbers(found, "trace_hi"), numbers(found, "trace_lo")], axis=1)
    return pa.table({"trace_id": hex_strings(words.astype(">u8").ravel().view(np.uint8), 16)})


async def _rows(project: ProjectSpans, selection: Selection) -> pa.Table:
    during = selection.during
    parts = [
        part
        for part in project.parts
        if (during.start_ns is None or part.max_start_ns >= during.start_ns)
        and (during.end_ns is None or part.min_start_ns < during.end_ns)
    ]
    possible = project.counting(await project.scanner.satisfying(parts, selection.spans, undecided=True))
    sure = await project.scanner.satisfying(list(possible), selection.spans, undecided=False)
    found = [pa.schema(LOCATION).empty_table()]
    for part, mask in possible.items():
        known = mask & sure[part] if part in sure else np.zeros(part.rows, np.bool_)
        found.append(await _located(project, part, known))
        found.append(await _checked(project, selection, part, mask & ~known))
    return pa.concat_tables(found)


async def _located(project: ProjectSpans, part: Part, mask: Bools) -> pa.Table:
    return (await project.fetch(part, np.flatnonzero(mask), ("span_id",))).select(LOCATION.names)


async def _checked(project: ProjectSpans, selection: Selection, part: Part, mask: Bools) -> pa.Table:
    """Return which rows satisfy the span predicate once their payloads are read."""
    columns = [name for name in LIGHT.names if name in needed_columns(selection.spans)]
    rows = np.flatnonzero(mask)
    found = [pa.schema(LOCATION).empty_table()]
    for begin in range(0, len(rows), _CHECKED_AT_ONCE):
        light = await project.fetch(part, rows[begin : begin + _CHECKED_AT_ONCE], columns)
        wanted = matches(light, selection.spans, payloads=await project.payloads_of(light), scores=project.scores)
        found.append(light.select(LOCATION.names).filter(pa.array(wanted)))
    return pa.concat_tables(found)
