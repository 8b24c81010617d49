"""Rows as they are by now: with what later arrivals changed in rows that had been written.

Two small tables are kept beside the rows, in files and live. ``FLIPS`` turn ``counted`` of a row, which
they name by its arrival. ``CONTEXTS`` say to whoever refers to a span what its context is. Neither names
a place in a file, both can be taken in any order, and a merge may apply what it meets and hand on the rest:
so what readers see does not depend on what has been merged with what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.query.context import CONTEXT, OWN, hex_or_null, taken
from agenttrace_core.query.tree import cut_circles, nearest, place_of, span_key, trace_key, trace_keys_of_rows
from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s, numbers, whole
from agenttrace_core.schema.keys import mixed, words_of_hex
from agenttrace_core.schema.tables import TRACES

ARRIVAL = ("partition", "offset", "position")
FLIPPED = ("input_tokens", "output_tokens", "cost_pico_usd", "unpriced")
"""The columns of ``FLIPS`` that add up, and are of ``TRACES``, too."""

AMENDED_COLUMNS = ("counted", *CONTEXT, "context_ref")
"""The columns of ``LIGHT`` that later arrivals may change."""

AMENDING_COLUMNS = ("project", "trace_id", *ARRIVAL, *AMENDED_COLUMNS)
"""What is read of rows to amend them."""


def amended(rows: pa.Table, flips: pa.Table, contexts: pa.Table) -> pa.Table:
    """Return rows, which hold ``AMENDING_COLUMNS``, as they are by now.

    ``flips`` and ``contexts`` are those of the whole view, or at least those of the rows' traces.
    """
    columns: dict[str, Any] = {}
    turned = turned_rows(rows, flips)
    if turned.any():
        columns["counted"] = pc.if_else(pa.array(turned), pc.invert(whole(rows["counted"])), whole(rows["counted"]))
    if len(contexts):
        known = ContextMap.of(contexts)
        columns |= known.fill(rows, known.place(rows))
    return pa.table([columns.get(n, rows[n]) for n in rows.column_names], schema=rows.schema) if columns else rows


def turned_rows(rows: pa.Table, flips: pa.Table) -> Bools:
    """Mark the rows whose ``counted`` is the other way round."""
    if len(flips) == 0 or len(rows) == 0:
        return np.zeros(len(rows), np.bool_)
    keys, counts = np.unique(arrival_keys(flips)[np.asarray(whole(flips["turns"]))], return_counts=True)
    return place_of(keys[counts % 2 == 1], arrival_keys(rows)) >= 0


def arrival_keys(rows: pa.Table) -> UInt64s:
    """Return one number for each row's ``ARRIVAL``."""
    partition, offset, position = (numbers(rows, name).astype(np.int64).view(np.uint64) for name in ARRIVAL)
    return mixed(position ^ mixed(partition ^ mixed(offset)))


def flips_summed(flips: pa.Table) -> pa.Table:
    """Return a row of ``FLIPS`` for each row flipped, and none where nothing is left of it."""
    if len(flips) == 0:
        return flips
    flips = flips.combine_chunks()
    _, first, group = np.unique(arrival_keys(flips), return_index=True, return_inverse=True)
    sums = {name: _added(group, len(first), numbers(flips, name)) for name in FLIPPED}
    turns = _added(group, len(first), np.asarray(whole(flips["turns"])).astype(np.int64)) % 2 == 1
    summed = replaced(flips.take(pa.array(first)), turns=turns, **sums)
    return summed.filter(pa.array(np.logical_or.reduce([turns, *(values != 0 for values in sums.values())])))


def flips_as_traces(flips: pa.Table) -> pa.Table:
    """Return what flips add to the ledger, in the schema ``TRACES``: corrections of as many rows, and no spans."""
    count = len(flips)
    zeros = pa.array(np.zeros(count, np.int64))
    columns: dict[str, Any] = {name: flips[name] for name in ("project", "trace_hi", "trace_lo", *FLIPPED)}
    columns |= dict.fromkeys(("start_ns", "end_ns", "named_ns", "received_ns"), flips["window"])
    columns |= {"has_root": pa.repeat(pa.scalar(False), count), "name": pa.repeat(pa.scalar("", pa.string()), count)}
    columns |= {name: pa.nulls(count, pa.string()) for name in ("service", "session_id", "user_id")}
    return pa.table([columns.get(f.name, zeros).cast(f.type) for f in TRACES], schema=TRACES)


@dataclass(frozen=True, slots=True)
class ContextMap:
    """What is known of spans that others refer to, each resolved as far as it can be.

    Attributes:
        keys: of the spans, ascending.
        names: by column of ``OWN``, texts and of each span the number of its own, -1 where none is known.
        ref: where to seek on, 0 if nowhere.
        parent: the place among these that a span's own row refers to, -1 if none.
        is_final: nothing that is still to come changes it.
        told: the row of ``CONTEXTS`` that counts for each; its ``seekers`` are those of all rows for the span.
    """

    keys: UInt64s
    names: tuple[tuple[pa.Array, Int64s], ...]
    ref: UInt64s
    parent: Int64s
    is_final: Bools
    told: pa.Table

    @classmethod
    def of(cls, contexts: pa.Table) -> ContextMap:
        """Resolve rows of ``CONTEXTS``. Of several for one span an ended one counts, then one that is complete."""
        keys, told = _told(contexts.combine_chunks())
        trace, ref = trace_keys(told), numbers(told, "ref")
        named = np.where(ref == 0, -1, place_of(keys, span_key(trace, ref)))
        parent = cut_circles(named, numbers(told, "span"))
        own = [_encoded(whole(told[name])) for name in OWN]
        runs = np.where(np.asarray(whole(told["ended"])), -1, 0)
        top, (*found, line_runs) = nearest(parent, *(codes for _, codes in own), runs)
        ends = np.logical_and.reduce([codes >= 0 for codes in found]) | ((parent[top] < 0) & (named[top] >= 0))
        open_ref = np.where(ends, np.uint64(0), ref[top])
        names = tuple((texts, codes) for (texts, _), codes in zip(own, found, strict=True))
        return cls(keys, names, open_ref, named, (open_ref == 0) & (line_runs < 0), told)

    def place(self, rows: pa.Table) -> Int64s:
        """Return which of these each row refers to by ``context_ref``, -1 if none."""
        refs = whole(rows["context_ref"])
        place = np.full(len(rows), -1, np.int64)
        seeking = np.asarray(refs.is_valid())
        if seeking.any():
            heads = rows.select(["project", "trace_id"]).filter(pa.array(seeking))
            trace = trace_keys_of_rows(heads)
            place[seeking] = place_of(self.keys, span_key(trace, words_of_hex(refs.drop_null(), 8)[:, 0]))
        return place

    def fill(self, rows: pa.Table, place: Int64s) -> dict[str, pa.Array]:
        """Return the columns of rows' context, those filled that refer to one of these."""
        if (place < 0).all():
            return {}
        columns: dict[str, pa.Array] = {}
        for name, (texts, codes) in zip(CONTEXT, self.names, strict=True):
            said = np.where(place >= 0, codes[place], -1)
            columns[name] = pc.coalesce(whole(rows[name]), taken(texts, said))
        wanting = np.logical_or.reduce([np.asarray(column.is_null()) for column in columns.values()])
        found = pa.array(place >= 0)
        ref = hex_or_null(np.where((place >= 0) & wanting, self.ref[place], np.uint64(0)))
        return columns | {"context_ref": pc.if_else(found, ref, whole(rows["context_ref"]))}


def with_traces_names(rows: pa.Table, sums: pa.Table) -> pa.Table:
    """Return rows of one project in which session and user, where no ancestor says them, are those of the trace.

    ``sums`` are all rows of ``TRACES`` of the project, one a trace.
    """
    if len(rows) == 0:
        return rows
    keys = trace_keys(sums)
    order = np.argsort(keys)
    place = place_of(keys[order], trace_keys_of_rows(rows))
    trace = pa.array(order[place], mask=place < 0)
    said = {f"context_{name}": whole(sums[name]).take(trace) for name in ("session_id", "user_id")}
    return replaced(rows, **{name: pc.coalesce(whole(rows[name]), texts) for name, texts in said.items()})


def of_traces(table: pa.Table, traces: UInt64s) -> pa.Table:
    """Return the rows of ``FLIPS`` or ``CONTEXTS`` that are of some traces, given by key."""
    return table.filter(pa.array(np.isin(trace_keys(table), traces))) if len(table) else table


def trace_keys(table: pa.Table) -> UInt64s:
    """Return the keys of the traces that rows of ``FLIPS`` or ``CONTEXTS`` are of."""
    return trace_key(table["project"], numbers(table, "trace_hi"), numbers(table, "trace_lo"))


def _told(contexts: pa.Table) -> tuple[UInt64s, pa.Table]:
    """Return the keys of the spans, ascending, and the row that counts for each."""
    keys = span_key(trace_keys(contexts), numbers(contexts, "span"))
    is_complete = numbers(contexts, "ref") == 0
    order = np.lexsort((is_complete, np.asarray(whole(contexts["ended"])), keys))
    ordered = keys[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], [True][: len(order)]))
    seekers = np.diff(np.cumsum(numbers(contexts, "seekers").astype(np.int64)[order])[last], prepend=0)
    return ordered[last], replaced(contexts.take(pa.array(order[last])), seekers=seekers)


def _encoded(column: pa.Array) -> tuple[pa.Array, Int64s]:
    if column.null_count == len(column):
        return pa.array([], pa.string()), np.full(len(column), -1, np.int64)
    encoded = column.dictionary_encode()
    return encoded.dictionary, np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)


def _added(group: Int64s, groups: int, values: Int64s) -> Int64s:
    sums = np.zeros(groups, np.int64)
    np.add.at(sums, group, values)
    return sums


def replaced(table: pa.Table, **columns: Any) -> pa.Table:
    """Return a table with other values in some columns."""
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else table[f.name] for f in table.schema]
    return pa.table(arrays, schema=table.schema)
