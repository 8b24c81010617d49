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
from agenttrace_core.query.tree import cut_circles, nearest, place_of, span_key, trace_key
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
    """Return rows of one project, which hold ``AMENDING_COLUMNS``, as they are by now.

    ``flips`` and ``contexts`` are those of the whole view, or at least those of the rows' traces.
    """
    columns: dict[str, Any] = {}
    turned = turned_rows(rows, flips)
    if turned.any():
        columns["counted"] = pc.if_else(pa.array(turned), pc.invert(whole(rows["counted"])), whole(rows["counted"]))
    if len(contexts):
        columns |= ContextMap.of(contexts).fill(rows)
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
    summed = _replaced(flips.take(pa.array(first)), turns=turns, **sums)
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

    ``keys`` are those of the spans, ascending; ``ref`` is where to seek on, 0 if nowhere.
    """

    keys: UInt64s
    names: tuple[tuple[pa.Array, Int64s], ...]
    ref: UInt64s

    @classmethod
    def of(cls, contexts: pa.Table) -> ContextMap:
        """Resolve rows of ``CONTEXTS`` of one project. Of several for one span an ended one counts, then the last."""
        contexts = contexts.combine_chunks()
        trace = _trace_keys(contexts)
        keys = span_key(trace, numbers(contexts, "span"))
        order = np.lexsort((np.arange(len(keys)), np.asarray(contexts["ended"]), keys))
        last = order[np.diff(keys[order], append=~keys[order[-1:]]) != 0]
        chosen = contexts.take(pa.array(last))
        keys, trace, ref = keys[last], trace[last], numbers(chosen, "ref")
        parent = np.where(ref == 0, -1, place_of(keys, span_key(trace, ref)))
        parent = cut_circles(parent, numbers(chosen, "span"))
        own = [_encoded(whole(chosen[name])) for name in OWN]
        top, found = nearest(parent, *(codes for _, codes in own))
        is_whole = np.logical_and.reduce([codes >= 0 for codes in found])
        is_cut = (parent[top] < 0) & (ref[top] != 0) & (place_of(keys, span_key(trace[top], ref[top])) >= 0)
        texts = (texts for texts, _ in own)
        return cls(keys, tuple(zip(texts, found, strict=True)), np.where(is_whole | is_cut, 0, ref[top]))

    def fill(self, rows: pa.Table) -> dict[str, pa.Array]:
        """Return the columns of rows' context, those that refer to a span of these filled."""
        refs = whole(rows["context_ref"])
        seeking = np.flatnonzero(np.asarray(refs.is_valid()))
        if len(seeking) == 0:
            return {}
        trace = _trace_keys_of_rows(rows.select(["project", "trace_id"]).take(pa.array(seeking)))
        sought = words_of_hex(refs.drop_null(), 8)[:, 0]
        place = place_of(self.keys, span_key(trace, sought))
        found = place >= 0
        at = np.full(len(rows), -1, np.int64)
        at[seeking[found]] = place[found]
        columns: dict[str, pa.Array] = {}
        for name, (texts, codes) in zip(CONTEXT, self.names, strict=True):
            said = np.where(at >= 0, np.append(codes, -1)[at], -1)
            columns[name] = pc.coalesce(whole(rows[name]), taken(texts, said))
        ref = np.zeros(len(rows), np.uint64)
        ref[seeking] = np.where(found, np.append(self.ref, np.uint64(0))[place], sought)
        ref[np.logical_and.reduce([np.asarray(column.is_valid()) for column in columns.values()])] = 0
        return columns | {"context_ref": hex_or_null(ref)}


def of_traces(table: pa.Table, traces: UInt64s) -> pa.Table:
    """Return the rows of ``FLIPS`` or ``CONTEXTS`` of one project that are of some traces, given by key."""
    return table.filter(pa.array(np.isin(_trace_keys(table), traces))) if len(table) else table


def _trace_keys(table: pa.Table) -> UInt64s:
    if len(table) == 0:
        return np.zeros(0, np.uint64)
    return trace_key(table["project"][0].as_py(), numbers(table, "trace_hi"), numbers(table, "trace_lo"))


def _trace_keys_of_rows(rows: pa.Table) -> UInt64s:
    if len(rows) == 0:
        return np.zeros(0, np.uint64)
    ids = words_of_hex(whole(rows["trace_id"]), 16)
    return trace_key(rows["project"][0].as_py(), ids[:, 0], ids[:, 1])


def _encoded(column: pa.Array) -> tuple[pa.Array, Int64s]:
    if column.null_count == len(column):
        return pa.array([], pa.string()), np.full(len(column), -1, np.int64)
    encoded = column.dictionary_encode()
    return encoded.dictionary, np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)


def _added(group: Int64s, groups: int, values: Int64s) -> Int64s:
    sums = np.zeros(groups, np.int64)
    np.add.at(sums, group, values)
    return sums


def _replaced(table: pa.Table, **columns: Any) -> pa.Table:
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else table[f.name] for f in table.schema]
    return pa.table(arrays, schema=table.schema)
