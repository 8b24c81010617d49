"""Which traces of some parts have a span that satisfies a predicate: a bit a trace and question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agenttrace_adapters.duckdb.judge import Judge
from agenttrace_adapters.duckdb.masks import Masks, RowScanner
from agenttrace_adapters.duckdb.parts import Part
from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s

_BITS = 64


@dataclass(frozen=True, slots=True)
class Entries:
    """What is known of traces from some parts: an item a trace and part. ``bits`` has a row for each."""

    hi: UInt64s
    lo: UInt64s
    start: Int64s
    bits: UInt64s

    @classmethod
    def of(cls, parts: Sequence[tuple[Part, UInt64s, Int64s]], words: int) -> Entries:
        """Take of each part the traces at some places, and their bits."""
        return cls(
            np.concatenate([np.zeros(0, np.uint64), *(part.hi[place] for part, _, place in parts)]),
            np.concatenate([np.zeros(0, np.uint64), *(part.lo[place] for part, _, place in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.start[place] for part, _, place in parts)]),
            np.concatenate([np.zeros((0, words), np.uint64), *(bits[place] for _, bits, place in parts)]),
        )

    def take(self, chosen: Int64s) -> Entries:
        """Return some of them."""
        return Entries(self.hi[chosen], self.lo[chosen], self.start[chosen], self.bits[chosen])

    def joined(self, other: Entries) -> Entries:
        """Return these and others."""
        if not len(self.hi) or not len(other.hi):
            return self if len(self.hi) else other
        return Entries(
            np.concatenate([self.hi, other.hi]),
            np.concatenate([self.lo, other.lo]),
            np.concatenate([self.start, other.start]),
            np.concatenate([self.bits, other.bits]),
        )

    def by_trace(self) -> Entries:
        """Return one item a trace: its least start, and all bits."""
        rises = (self.hi[1:] > self.hi[:-1]) | ((self.hi[1:] == self.hi[:-1]) & (self.lo[1:] > self.lo[:-1]))
        if rises.all():
            return self
        order = np.lexsort((self.lo, self.hi))
        hi, lo = self.hi[order], self.lo[order]
        new = np.ones(len(order), np.bool_)
        new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
        first = np.flatnonzero(new)
        return Entries(
            hi[first],
            lo[first],
            np.minimum.reduceat(self.start[order], first),
            np.bitwise_or.reduceat(self.bits[order], first, axis=0),
        )


class Scanner:
    """Says of the traces of a view's parts which bits they have.

    Args:
        rows: asks rows.
        dropped: says which rows of a source do not count.
        judge: the scans to make.
    """

    def __init__(self, rows: RowScanner, dropped: Callable[[str], Int64s | None], judge: Judge) -> None:
        self._rows, self._dropped, self._judge = rows, dropped, judge

    async def entries(self, parts: Sequence[Part]) -> Entries:
        """Return the traces of ``parts`` that have a bit set; all, where traces without one may be what is sought."""
        return await self._entries(parts, everything=self._judge.begins_open)

    async def marked(self, parts: Sequence[Part]) -> Entries:
        """Return the traces of ``parts`` that have a bit set."""
        return await self._entries(parts, everything=False)

    async def _entries(self, parts: Sequence[Part], *, everything: bool) -> Entries:
        words = self._judge.words
        bits = {part: np.zeros((len(part.hi), words), np.uint64) for part in parts}
        masks: Masks = {}
        for place, scan in enumerate(self._judge.scans):
            word, bit = divmod(place, _BITS)
            # What surely is so is among what may be, which was asked just before.
            asked = parts if scan.undecided else list(masks)
            masks = await self._rows.satisfying(asked, scan.predicate, undecided=scan.undecided)
            for part, mask in masks.items():
                bits[part][self._traces(part, mask), word] |= np.uint64(1 << bit)
        return Entries.of(
            [
                (part, own, np.arange(len(own)) if everything else np.flatnonzero(own.any(axis=1)))
                for part, own in bits.items()
            ],
            words,
        )

    def _traces(self, part: Part, mask: Bools) -> Int64s:
        return part.traces_of(np.flatnonzero(without(part, mask, self._dropped(part.source))))


def without(part: Part, mask: Bools, dropped: Int64s | None) -> Bools:
    """Return the mask of a part less some rows of its file. Parts of chunks are without such rows already."""
    if dropped is None or part.file is None:
        return mask
    own = dropped[(dropped >= part.first_row) & (dropped < part.first_row + part.rows)]
    mask[own - part.first_row] = False
    return mask
