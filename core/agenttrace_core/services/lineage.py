"""What a writer remembers of the trees of spans that are still growing.

Spans come in any order, children mostly before their parents. For each batch the writer decides, with what
it remembers, which of its spans count and whose they are; and what the batch changes for rows written before:
which traces may have rows to be flipped, and what spans say that earlier rows refer to.

The memory is a cache. A trace of which something was forgotten is known to be so (``forgotten``), is read
back, and remembered anew (``recall``); of a trace never seen nothing is to be known.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.span import UNENDED, Quality
from agenttrace_core.query.context import CONTEXT, OWN, hex_or_null, node_codes, taken
from agenttrace_core.query.counting import COUNTING_COLUMNS, Carried
from agenttrace_core.query.tree import (
    Forest,
    TreeKeys,
    above,
    circling,
    cut_circles,
    nearest,
    place_of,
    span_id_of,
    span_key,
    trace_keys_of_rows,
)
from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s, numbers, whole
from agenttrace_core.schema.keys import words_of_hex
from agenttrace_core.schema.tables import CONTEXTS
from agenttrace_core.services.key_table import KeyTable, Records
from agenttrace_core.services.memory_of_writes import IdentityFilter
from agenttrace_core.services.names import Names

RECALL_COLUMNS = (*COUNTING_COLUMNS, *OWN, "context_ref")
"""What ``recall`` reads of ``LIGHT``."""

_SPAN = np.dtype([("key", "u8"), ("parent", "u8"), ("naming", "i4"), ("seekers", "i4"), ("bits", "u2")])
_TRACE = np.dtype([("key", "u8"), ("since", "i4")])

# Of a record: its span was written; and has not ended; carries tokens up; is an inference; may count.
_PRESENT, _OPEN, _CARRIES, _INFERENCE, _MAY_COUNT = (np.uint16(1 << n) for n in range(5))
# An inference, or anything, below it carries tokens; a row of CONTEXTS was written of it.
_BELOW_INFERENCE, _BELOW, _TOLD = (np.uint16(1 << n) for n in range(5, 8))
_LEARNT = _BELOW_INFERENCE | _BELOW | _TOLD
_AGE = np.uint16(1 << 8)
_LASTING_AGE = 8

_FORGOTTEN = -2
_FOR_GOOD = 1 << 24
"""More seekers than there will ever be: what is said to them is kept for good."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A batch in its place.

    Attributes:
        rows: with ``counted`` and their context, as far as it is known.
        contexts: what spans say that earlier rows refer to, in the schema ``CONTEXTS``.
        suspects: the rows of traces that have to be looked at whole: a span came again, a row written
            before may have to be flipped, or parents are named in a circle.
    """

    rows: pa.Table
    contexts: pa.Table
    suspects: Bools


class Lineage:
    """Remembers spans and traces.

    Args:
        span_slots: for spans, see ``KeyTable``: 2**20 take 54 MB at the most.
        trace_slots: for traces, of which no more than their being is remembered: 2**19 take 13 MB at the most.
    """

    def __init__(self, span_slots: int = 1 << 20, trace_slots: int = 1 << 19) -> None:
        self._spans = KeyTable(_SPAN, span_slots, _is_lasting)
        self._traces = KeyTable(_TRACE, trace_slots)
        self._names = Names()
        self._named_at = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes, but for the names."""
        return self._spans.nbytes + self._traces.nbytes

    def seen(self, traces: UInt64s) -> None:
        """Note that traces exist, of which nothing is remembered."""
        self._note(np.unique(traces), _FORGOTTEN)

    def forgotten(self, keys: TreeKeys, below: IdentityFilter | None = None) -> Bools:
        """Mark the rows of a batch whose traces have spans that are not remembered any more: ``recall`` those.

        Traces that were not seen before, nor are ``below``, begin with this batch, which is to be placed next.
        """
        traces, inverse = np.unique(keys.trace, return_inverse=True)
        found, records = self._traces.get(traces)
        self._note(traces[~found], self._spans.generation)
        forgotten = found & (self._spans.generation - records["since"] > 1)
        if below is not None:
            forgotten |= ~found & below.suspects(traces)
        return forgotten[inverse] if forgotten.any() else np.zeros(len(keys.trace), np.bool_)

    def recall(self, project: str, traces: Collection[str], rows: pa.Table, lost: pa.Table, *, forgotten: bool) -> None:
        """Remember all rows of some traces anew: those that count, and ``lost`` ones, which other versions replaced.

        ``forgotten`` says that they had been; else what is known of who refers to whom is kept.

        Both hold ``RECALL_COLUMNS``; ``context_ref`` is as it is by now.
        """
        keys, lost_keys = TreeKeys.of(rows), TreeKeys.of(lost)
        carried = Carried.of(rows)
        forest = Forest.of(keys)
        missing = np.unique(np.concatenate([forest.parent_key, lost_keys.own, lost_keys.parent]))
        missing = missing[(missing != 0) & (place_of(forest.keys, missing) < 0)]
        records = np.zeros(len(forest.keys) + len(missing), _SPAN)
        records["key"] = np.concatenate([forest.keys, missing])
        records["parent"][: len(forest.keys)] = forest.parent_key
        parent = forest.parent.copy()
        away = parent < 0
        parent[away] = _beyond(len(forest.keys), place_of(missing, forest.parent_key[away]))
        parent = np.concatenate([parent, np.full(len(missing), -1, np.int64)])
        np.bitwise_or.at(records["bits"], forest.node, _bits(rows, carried))
        records["naming"][: len(forest.keys)] = self._naming_of_nodes(rows, forest)
        for below, up in ((_BELOW_INFERENCE, carried.up & carried.is_inference), (_BELOW, carried.up)):
            marked = np.zeros(len(records), np.bool_)
            marked[forest.node[up]] = True
            records["bits"][above(parent, marked)] |= below
        if forgotten:
            _guess_seekers(records, rows, keys)
        else:
            _, known = self._spans.get(records["key"])
            records["seekers"] = known["seekers"]
            records["bits"] |= known["bits"] & _TOLD
        self._note(trace_keys_of_rows(_heads(project, traces)), self._spans.generation)
        self._put(records)

    def place(self, rows: pa.Table, keys: TreeKeys) -> Placed:
        """Decide for the rows of a batch (schema ``ROWS``) of which ``forgotten`` was asked before; remember them."""
        if len(rows) == 0:
            return Placed(rows, CONTEXTS.empty_table(), np.zeros(0, np.bool_))
        rows = _with_denied(rows)
        carried = Carried.of(rows)
        around = self._around(keys)
        node, records = around.node, around.records
        before = records["bits"].copy()
        bits, naming = _bits(rows, carried), self._names.of_rows(rows)
        last = ~_is_late(bits, node, before)
        records["bits"][node[last]] = (before[node] & _LEARNT | bits)[last]
        records["naming"][node[last]] = naming[last]
        around.lift()
        odd = around.odd(before)
        owners = _Owners(around, self._names, keys)
        contexts = owners.told(rows, keys, before)
        strange = np.unique(keys.trace[np.concatenate([odd, owners.circling])])
        suspects = np.isin(keys.trace, strange) if len(strange) else np.zeros(len(rows), np.bool_)
        placed = _replaced(rows, counted=around.counted(carried), **owners.columns(rows, keys))
        self._put(records)
        return Placed(placed, contexts, suspects)

    def _around(self, keys: TreeKeys) -> _Around:
        """Fetch what is remembered of a batch's spans and of all their ancestors."""
        known = np.unique(np.concatenate([keys.own, keys.parent[keys.parent != 0]]))
        _, records = self._spans.get(known)
        node = known.searchsorted(keys.own)
        records["parent"][node] = keys.parent
        levels = [records]
        while len(higher := _parents_of(levels[-1], known)):
            _, records = self._spans.get(higher)
            levels.append(records)
            known = np.sort(np.concatenate([known, higher]), kind="stable")
        records = levels[0] if len(levels) == 1 else np.sort(np.concatenate(levels), order="key")
        return _Around.of(records, known, keys)

    def _naming_of_nodes(self, rows: pa.Table, forest: Forest) -> Int64s:
        """Of rows that share an id the least names count, as in ``contexts_of``."""
        own = [node_codes(whole(rows[name]), forest) for name in OWN]
        return self._names.of_codes([[None, *texts.to_pylist()] for texts, _ in own], [codes + 1 for _, codes in own])

    def _put(self, records: Records) -> None:
        self._spans.put(records)
        if self._spans.generation != self._named_at:
            self._named_at = self._spans.generation
            halves = self._spans.halves()
            moved = self._names.keep(np.unique(np.concatenate([[0], *(half["naming"] for half in halves)])))
            for half in halves:
                half["naming"] = moved[half["naming"]]

    def _note(self, traces: UInt64s, since: int) -> None:
        records = np.zeros(len(traces), _TRACE)
        records["key"], records["since"] = traces, since
        self._traces.put(records)


@dataclass(frozen=True, slots=True)
class _Around:
    """Records of a batch's spans and of all their known ancestors, by key, as a forest.

    ``node`` is where each row's span is, ``at`` of each record a row of its trace, ``parent`` -1 where it has none.
    """

    records: Records
    node: Int64s
    parent: Int64s
    at: Int64s

    @classmethod
    def of(cls, records: Records, known: UInt64s, keys: TreeKeys) -> _Around:
        node = known.searchsorted(keys.own)
        parent = np.where(records["parent"] == 0, -1, place_of(known, records["parent"]))
        at = np.full(len(records), -1, np.int64)
        at[node] = np.arange(len(node))
        frontier = node
        while len(frontier):
            up = parent[frontier]
            is_new = (up >= 0) & (at[up] < 0)
            at[up[is_new]] = at[frontier[is_new]]
            frontier = up[is_new]
        return cls(records, node, parent, at)

    def lift(self) -> None:
        """Tell the ancestors of what is in the batch, or was known to be below it, that it carries tokens."""
        bits = self.records["bits"]
        for below, needed in ((_BELOW_INFERENCE, _CARRIES | _INFERENCE), (_BELOW, _CARRIES)):
            frontier = self.node[((bits[self.node] & needed) == needed) | ((bits[self.node] & below) != 0)]
            while len(frontier):
                up = self.parent[frontier]
                up = up[up >= 0]
                up = np.unique(up[(bits[up] & below) == 0])
                bits[up] |= below
                frontier = up

    def counted(self, carried: Carried) -> pa.Array:
        bits = self.records["bits"][self.node]
        return carried.counted((bits & _BELOW_INFERENCE) != 0, (bits & _BELOW) != 0)

    def odd(self, before: Any) -> Int64s:
        """Return a row of each trace in which a span came again, or one that was written counts otherwise now."""
        again = np.flatnonzero((before[self.node] & _PRESENT) != 0)
        twice = np.flatnonzero(np.bincount(self.node, minlength=len(self.at))[self.node] > 1)
        changed = _counts(before) != _counts(self.records["bits"])
        changed[self.node] = False
        return np.concatenate([again, twice, self.at[changed]])


class _Owners:
    """Whose the spans of a batch are. Lines of ancestors end at one that is not there, or that runs still."""

    def __init__(self, around: _Around, names: Names, keys: TreeKeys) -> None:
        self._around = around
        bits, parent = around.records["bits"], around.parent
        is_settled = (bits & (_PRESENT | _OPEN)) == _PRESENT
        goes_on = (parent >= 0) & is_settled[parent]
        up = np.where(goes_on, parent, -1)
        circle = circling(up)
        self.circling = around.at[circle]
        if len(circle):
            up = cut_circles(up, span_id_of(keys.trace[around.at], around.records["key"]))
        ends_at = np.where(goes_on, -1, parent)
        split = names.split(around.records["naming"])
        top, codes = nearest(up, *(codes for _, codes in split))
        self._texts = [texts for texts, _ in split]
        self._codes = codes
        is_whole = np.logical_and.reduce([found >= 0 for found in codes])
        self._ref = np.where(is_whole, -1, ends_at[top])

    def columns(self, rows: pa.Table, keys: TreeKeys) -> dict[str, pa.Array]:
        """Return the columns of the rows' context."""
        node = self._around.node
        columns = {
            context: pc.coalesce(whole(rows[own]), taken(texts, codes[node]))
            for context, own, texts, codes in zip(CONTEXT, OWN, self._texts, self._codes, strict=True)
        }
        return columns | {"context_ref": hex_or_null(self._ref_ids(keys, node))}

    def told(self, rows: pa.Table, keys: TreeKeys, before: Any) -> pa.Table:
        """Count who refers to what, and return the contexts of those that are referred to."""
        records, node = self._around.records, self._around.node
        bits = records["bits"]
        count = len(records)
        seekers = np.bincount(self._ref[node][self._ref[node] >= 0], minlength=count)
        is_new = np.zeros(count, np.bool_)
        is_new[node] = True
        # What ran when it was told may say something else now that it has ended.
        tells = is_new & ((records["seekers"] > 0) | ((before & (_TOLD | _OPEN)) == _TOLD | _OPEN))
        fresh = tells | ((seekers > 0) & ((bits & (_PRESENT | _TOLD)) == _PRESENT))
        tells = fresh.copy()
        while fresh.any():
            refs = self._ref[fresh]
            seekers += np.bincount(refs[refs >= 0], minlength=count)
            fresh = np.zeros(count, np.bool_)
            fresh[refs[refs >= 0]] = True
            fresh &= ((bits & (_PRESENT | _TOLD)) == _PRESENT) & ~tells
            tells |= fresh
        records["seekers"] += seekers.astype(np.int32)
        telling = np.flatnonzero(tells)
        if len(telling) == 0:
            return CONTEXTS.empty_table()
        has_ended = (bits[telling] & _OPEN) == 0
        table = self._contexts(rows, keys, telling, np.where(has_ended, records["seekers"][telling], 0), has_ended)
        bits[telling] |= _TOLD
        records["seekers"][telling[has_ended]] = 0
        return table

    def _contexts(self, rows: pa.Table, keys: TreeKeys, nodes: Int64s, seekers: Any, has_ended: Bools) -> pa.Table:
        at = self._around.at[nodes]
        heads = rows.select(["project", "trace_id"]).take(pa.array(at))
        ids = words_of_hex(whole(heads["trace_id"]), 16)
        columns = [
            whole(heads["project"]), pa.array(ids[:, 0]), pa.array(ids[:, 1]),
            pa.array(span_id_of(keys.trace[at], self._around.records["key"][nodes])),
            *(taken(texts, codes[nodes]) for texts, codes in zip(self._texts, self._codes, strict=True)),
            pa.array(self._ref_ids(keys, nodes)), pa.array(seekers, pa.int32()), pa.array(has_ended),
        ]  # fmt: skip
        return pa.table(columns, schema=CONTEXTS)

    def _ref_ids(self, keys: TreeKeys, nodes: Int64s) -> UInt64s:
        ref = self._ref[nodes]
        trace = keys.trace[self._around.at[nodes]]
        return np.where(ref < 0, np.uint64(0), span_id_of(trace, self._around.records["key"][ref]))


def _bits(rows: pa.Table, carried: Carried) -> Any:
    is_open = (numbers(rows, "quality") & np.uint16(UNENDED)) != 0
    return (
        _PRESENT
        | (is_open * _OPEN)
        | (carried.up * _CARRIES)
        | (carried.is_inference * _INFERENCE)
        | (carried.may_count * _MAY_COUNT)
    ).astype(np.uint16)


def _is_late(bits: Any, node: Int64s, before: Any) -> Bools:
    """Mark the rows of a batch whose span runs in them, and has ended in another, which counts, whatever the order."""
    is_open = (bits & _OPEN) != 0
    has_ended = (before & (_PRESENT | _OPEN)) == _PRESENT
    has_ended[node[~is_open]] = True
    late: Bools = is_open & has_ended[node]
    return late


def _counts(bits: Any) -> Bools:
    hindering = np.where((bits & _INFERENCE) != 0, bits & _BELOW_INFERENCE, bits & _BELOW)
    counts: Bools = ((bits & (_PRESENT | _MAY_COUNT)) == _PRESENT | _MAY_COUNT) & (hindering == 0)
    return counts


def _parents_of(records: Records, known: UInt64s) -> UInt64s:
    """Return the parents of those present that are not known yet."""
    parents: UInt64s = np.unique(records["parent"][(records["bits"] & _PRESENT) != 0])
    unknown: UInt64s = parents[(parents != 0) & (place_of(known, parents) < 0)]
    return unknown


def _is_lasting(records: Records) -> Bools:
    """Spans that others are known to be below, and that have not come, are waited for longer than others are kept."""
    records["bits"] += _AGE
    lasting: Bools = ((records["bits"] & _PRESENT) == 0) & (records["bits"] < _AGE * _LASTING_AGE)
    return lasting


def _heads(project: str, traces: Collection[str]) -> pa.Table:
    ids = pa.array(list(traces), pa.string())
    return pa.table({"project": pa.repeat(pa.scalar(project, pa.string()), len(ids)), "trace_id": ids})


def _guess_seekers(records: Records, rows: pa.Table, keys: TreeKeys) -> None:
    """Take those that are referred to for such as always will be: rows that were superseded refer to them, too."""
    refs = whole(rows["context_ref"])
    trace = keys.trace[np.asarray(refs.is_valid())]
    sought = np.isin(records["key"], span_key(trace, words_of_hex(refs.drop_null(), 8)[:, 0]))
    records["seekers"][sought] = _FOR_GOOD
    records["bits"][sought & ((records["bits"] & _PRESENT) != 0)] |= _TOLD


def _beyond(count: int, place: Int64s) -> Int64s:
    return np.where(place < 0, -1, count + place)


def _with_denied(rows: pa.Table) -> pa.Table:
    """Keep in ``quality`` that the dialect says of a row that it does not count: the trees must not undo it."""
    denied = np.asarray(pc.equal(whole(rows["counted"]), pa.scalar(False)).fill_null(False))
    if not denied.any():
        return rows
    quality = numbers(rows, "quality") | np.where(denied, np.uint16(Quality.COUNTED_BELOW), np.uint16(0))
    return _replaced(rows, quality=pa.array(quality.astype(np.uint16)))


def _replaced(rows: pa.Table, **columns: pa.Array) -> pa.Table:
    return pa.table([columns.get(name, rows[name]) for name in rows.column_names], schema=rows.schema)
