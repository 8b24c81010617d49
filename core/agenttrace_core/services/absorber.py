"""Puts flips and contexts onto the rows that they are about, where both meet, and keeps what is left of them.

Nothing that readers see changes by it, whatever is merged with what and in whatever order: what is put onto a
row is no longer kept beside it, and what is kept still adds up to the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.query.amend import FLIPPED, ContextMap, arrival_keys, flips_summed, replaced, trace_keys
from agenttrace_core.query.context import OWN, taken
from agenttrace_core.query.flips import turning
from agenttrace_core.query.tree import place_of
from agenttrace_core.schema.arrays import Int64s, numbers, whole
from agenttrace_core.schema.tables import FLIPS, TRACES


class Absorber:
    """Takes rows as they pass, in any pieces.

    Args:
        flips: of all that is merged.
        contexts: of all that is merged.
        taken_back: what rows that are superseded, and to be ``removed``, had added to sums: negated, in ``TRACES``.
    """

    def __init__(self, flips: pa.Table, contexts: pa.Table, taken_back: pa.Table | None = None) -> None:
        flips = flips_summed(flips)
        keys = arrival_keys(flips)
        order = np.argsort(keys)
        self._flips, self._keys = flips.take(pa.array(order)), keys[order]
        self._is_met = np.zeros(len(order), np.bool_)
        self._contexts = ContextMap.of(contexts)
        self._seekers = numbers(self._contexts.told, "seekers").astype(np.int64)
        self._removed: list[pa.Table] = []
        self._taken_back = TRACES.empty_table() if taken_back is None else taken_back

    def absorb(self, rows: pa.Table) -> pa.Table:
        """Return rows that stay (they hold ``AMENDING_COLUMNS``) with all that is known of them for good."""
        columns: dict[str, Any] = {}
        met = self._meet(rows)
        turns = np.append(np.asarray(whole(self._flips["turns"])), [False])[met]
        if turns.any():
            counted = whole(rows["counted"])
            columns["counted"] = pc.if_else(pa.array(turns), pc.invert(counted), counted)
        if len(self._seekers):
            place = self._contexts.place(rows)
            place[~np.append(self._contexts.is_final, [False])[place]] = -1
            self._release(place)
            columns |= self._contexts.fill(rows, place)
        return replaced(rows, **columns) if columns else rows

    def leave(self, rows: pa.Table) -> None:
        """Note rows that are dropped, with all that was said of them."""
        if len(rows):
            self._meet(rows)
            if len(self._seekers):
                self._release(self._contexts.place(rows))

    def remove(self, rows: pa.Table) -> None:
        """Note rows that are dropped because others superseded them.

        What each counted for by then, flips included, has been taken back. So of a flip that is not met here,
        and will add itself to sums for as long as it is kept, the opposite must be kept, too.
        """
        if len(rows) == 0:
            return
        added = turning(rows, np.ones(len(rows), np.bool_))
        counts = np.asarray(whole(rows["counted"]).fill_null(False))
        self._removed.append(replaced(added, **{name: numbers(added, name) * counts for name in FLIPPED}))
        met = self._meet(rows)
        self._removed.append(self._flips.take(pa.array(met[met < len(self._keys)])))
        if len(self._seekers):
            self._release(self._contexts.place(rows))

    def flips(self) -> pa.Table:
        """Return the flips of rows that have not been met."""
        return pa.concat_tables([self._flips.filter(pa.array(~self._is_met)), self._opposites()])

    def contexts(self) -> pa.Table:
        """Return what is still to be said to others."""
        known = self._contexts
        if len(self._seekers) == 0:
            return known.told
        closed = known.is_final & (numbers(known.told, "ref") != 0)
        self._release(np.where(closed, known.parent, -1))
        columns: dict[str, Any] = {
            name: pc.coalesce(whole(known.told[name]), taken(texts, np.where(closed, codes, -1)))
            for name, (texts, codes) in zip(OWN, known.names, strict=True)
        }
        ref = np.where(closed, np.uint64(0), numbers(known.told, "ref"))
        left = replaced(known.told, ref=ref, seekers=self._seekers, **columns)
        return left.filter(pa.array(~(np.asarray(whole(left["ended"])) & (self._seekers <= 0))))

    def _meet(self, rows: pa.Table) -> Int64s:
        """Return which flip is of each row, and one beyond the last where none is."""
        if len(self._keys) == 0:
            return np.zeros(len(rows), np.int64)
        place = place_of(self._keys, arrival_keys(rows))
        self._is_met[place[place >= 0]] = True
        return np.where(place < 0, len(self._keys), place)

    def _release(self, place: Int64s) -> None:
        self._seekers -= np.bincount(place[place >= 0], minlength=len(self._seekers))

    def _opposites(self) -> pa.Table:
        """What sums would lack, or have too much, once the removed rows are gone: hardly ever anything."""
        if not self._removed:
            return FLIPS.empty_table()
        removed = pa.concat_tables(self._removed).combine_chunks()
        traces, first, group = np.unique(trace_keys(removed), return_index=True, return_inverse=True)
        taken_back = place_of(traces, trace_keys(self._taken_back))
        sums: dict[str, Any] = {}
        for name in FLIPPED:
            sums[name] = np.zeros(len(traces), np.int64)
            np.add.at(sums[name], group, numbers(removed, name))
            np.add.at(sums[name], taken_back[taken_back >= 0], numbers(self._taken_back, name)[taken_back >= 0])
        left = replaced(removed.take(pa.array(first)), turns=np.ones(len(traces), np.bool_), **sums)
        return left.filter(pa.array(np.logical_or.reduce([values != 0 for values in sums.values()])))
