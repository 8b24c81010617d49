"""Decoded records on their way into the live state, to be cut at the watermarks of a snapshot, and joined again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from agenttrace_core.model.segment import OffsetRange
from agenttrace_core.normalise.prices.pricing import Pricing
from agenttrace_core.query.tree import TreeKeys
from agenttrace_core.schema.arrays import Bools, UInt64s, numbers
from agenttrace_core.schema.keys import identity_hashes
from agenttrace_core.services.memory_of_writes import BodyMemory
from agenttrace_core.services.tail import Batch, Read, decode


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch, and of each of its rows the hash of its identity and its place in its trace's tree.

    ``nbytes`` are raw bytes of its spans and log records: asked for all the time, and not added up each time.
    """

    batch: Batch
    hashes: UInt64s
    keys: TreeKeys
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Add up."""
        nbytes = int(self.batch.rows["span"].nbytes + self.batch.logs["record"].nbytes)
        object.__setattr__(self, "nbytes", nbytes)

    @classmethod
    def of(cls, batch: Batch) -> Decoded:
        """Compute them. Takes its time: call it off the event loop."""
        return cls(batch, identity_hashes(batch.rows), TreeKeys.of(batch.rows))

    @classmethod
    def joined(cls, parts: Sequence[Decoded]) -> Decoded:
        """Make one of some that follow each other, without letters and what else only a writer needs."""
        ranges: dict[int, OffsetRange] = {}
        for r in (r for part in parts for r in part.batch.ranges):
            ranges[r.partition] = replace(ranges.get(r.partition, r), next=r.next)
        batch = Batch(
            tuple(sorted(ranges.values())),
            pa.concat_tables([part.batch.rows for part in parts]).combine_chunks(),
            pa.concat_tables([part.batch.logs for part in parts]).combine_chunks(),
            offset_base=parts[0].batch.offset_base,
        )
        return cls(batch, np.concatenate([part.hashes for part in parts]), TreeKeys.joined([p.keys for p in parts]))

    def parted(self, offsets: Mapping[int, int]) -> tuple[Decoded, Decoded]:
        """Return what of it is below some offsets, by partition, and what is at or above them."""
        base = self.batch.offset_base
        low, high = _below(self.batch.rows, offsets, base), _below(self.batch.logs, offsets, base)
        cuts = [(r, min(max(offsets.get(r.partition, 0), r.first), r.next)) for r in self.batch.ranges]
        below = tuple(replace(r, next=cut) for r, cut in cuts if r.first < cut)
        above = tuple(replace(r, first=cut) for r, cut in cuts if cut < r.next)
        return self._part(below, low, high), self._part(above, ~low, ~high)

    def _part(self, ranges: tuple[OffsetRange, ...], rows: Bools, logs: Bools) -> Decoded:
        if rows.all() and logs.all():
            return replace(self, batch=replace(self.batch, ranges=ranges))
        own, own_logs = self.batch.rows.filter(pa.array(rows)), self.batch.logs.filter(pa.array(logs))
        batch = Batch(ranges, own, own_logs, offset_base=self.batch.offset_base)
        return Decoded(batch, self.hashes[rows], self.keys.where(rows))


def decoded(read: Read, known: BodyMemory, pricing: Pricing) -> Decoded:
    """Decode what was read, leaving out bodies that are ``known``. Takes its time: call it off the event loop."""
    return Decoded.of(decode(read, known, pricing))


def _below(table: pa.Table, offsets: Mapping[int, int], offset_base: int) -> Bools:
    partition, offset = numbers(table, "partition"), numbers(table, "offset")
    below = np.zeros(len(table), np.bool_)
    for each, end in offsets.items():
        below |= (partition == each) & (offset < offset_base + end)
    return below
