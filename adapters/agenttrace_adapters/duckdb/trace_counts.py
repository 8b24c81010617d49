"""How many traces a group has, each in the bucket of its own start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from agenttrace_adapters.duckdb.rollups import Rollup
from agenttrace_adapters.duckdb.row_members import RowMembers
from agenttrace_adapters.duckdb.runs import TraceRun
from agenttrace_core.model.algebra import Interval
from agenttrace_core.query.buckets import floor_to
from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s, whole

_Numbers = TypeVar("_Numbers", Int64s, UInt64s)

_SIEVE_BITS = 20
_MOST_PLACES = 16_000_000
_MOST_NUMBERS = 4_000_000


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where the traces of a project stand in a view: every row of the ledger.

    ``repeated`` is a sieve over the first eight bytes of trace ids: it lets those through that have rows in several
    places, and a few others.
    """

    runs: Sequence[TraceRun]
    repeated: Bools

    def beside(self, runs: Sequence[TraceRun]) -> Ledger:
        """Return the ledger of these and some more runs, which may have traces of the others."""
        repeated = self.repeated.copy()
        for run in runs:
            repeated[_holes(run.hi)] = True
        return Ledger([*self.runs, *runs], repeated)

    @classmethod
    def of(cls, runs: Sequence[TraceRun]) -> Ledger:
        """Look through runs for traces that are in several places."""
        # Each run is sorted: a sort that merges runs has little to do.
        every = np.sort(np.concatenate([np.zeros(0, np.uint64), *(run.hi for run in runs)]), kind="stable")
        return cls(runs, sieve(every[1:][every[1:] == every[:-1]]))

    def starts(self, hi: UInt64s, lo: UInt64s) -> Int64s:
        """Return the starts of traces that are in the ledger."""
        wanted = sieve(hi)
        masks = [through(wanted, run.hi) for run in self.runs]
        known_hi = _chosen([run.hi for run in self.runs], masks)
        known_lo = _chosen([run.lo for run in self.runs], masks)
        known_start = _chosen([run.start for run in self.runs], masks)
        order = _by_id(known_hi, known_lo)
        known_hi, known_lo = known_hi[order], known_lo[order]
        first = np.flatnonzero(_news(known_hi, known_lo))
        least: Int64s = np.minimum.reduceat(known_start[order], first)
        return least[_find(known_hi[first], known_lo[first], hi, lo)]


def sieve(hi: UInt64s) -> Bools:
    """Return a sieve that lets ids through that begin like one of ``hi``."""
    passes = np.zeros(1 << _SIEVE_BITS, np.bool_)
    passes[_holes(hi)] = True
    return passes


def through(passes: Bools, hi: UInt64s) -> Bools:
    """Return which ids a sieve lets through."""
    through: Bools = passes[_holes(hi)]
    return through


def _holes(hi: UInt64s) -> Int64s:
    return (hi >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Members:
    """Traces of groups: of trace ``i``, that it has a selected span in group ``group[i]``; pairs may be repeated."""

    group: Int64s
    hi: UInt64s
    lo: UInt64s

    def distinct(self) -> Members:
        """Return every pair once."""
        order = np.lexsort((self.lo, self.hi, self.group))
        group, hi, lo = self.group[order], self.hi[order], self.lo[order]
        new = _news(group, hi, lo)
        return Members(group[new], hi[new], lo[new])


@dataclass(frozen=True, slots=True)
class CellMembers:
    """Traces of groups as a file's cells tell them: ``has[i, j]`` is whether ledger row ``j`` is in ``group[i]``."""

    rollup: Rollup
    group: Int64s
    has: np.ndarray[Any, np.dtype[np.bool_]]


def members_of_cells(rollups: Sequence[Rollup], cells: pa.ChunkedArray, group: Int64s) -> Iterator[CellMembers]:
    """Yield, file by file, the traces of cells; ``cells`` counts over all files, ``group`` is that of each.

    Of a file whose groups are many, in several pieces.
    """
    order = np.argsort(cells.to_numpy())
    cell, group = cells.to_numpy()[order], group[order]
    begun, size = 0, int(group.max(initial=0)) + 1
    for rollup in rollups:
        first, stop = cell.searchsorted([begun, begun + len(rollup.cells)])
        own, of = cell[first:stop] - begun, group[first:stop]
        begun += len(rollup.cells)
        present = np.zeros(size, np.bool_)
        present[of] = True
        groups, place = np.flatnonzero(present), (np.cumsum(present) - 1)[of]
        at_once = max(1, _MOST_PLACES // max(1, len(rollup.hi)))
        for start in range(0, len(groups), at_once):
            some = (place >= start) & (place < start + at_once)
            names = groups[start : start + at_once]
            yield CellMembers(rollup, names, _has(rollup, own[some], place[some] - start, len(names)))


def _has(rollup: Rollup, cells: Int64s, place: Int64s, groups: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    values, offsets = rollup.lists("traces")
    counts = offsets[cells + 1] - offsets[cells]
    if len(cells) < len(offsets) - 1:
        before = np.cumsum(counts) - counts
        values = values[np.repeat(offsets[cells] - before, counts) + np.arange(counts.sum())]
    rows = len(rollup.hi)
    has = np.zeros(groups * rows, np.bool_)
    has[np.repeat(place * rows, counts) + values] = True
    return has.reshape(groups, rows)


def counted(
    ledger: Ledger,
    members: Members,
    of_cells: Iterable[CellMembers],
    of_rows: Iterable[RowMembers],
    during: Interval,
    edges: Int64s | None,
) -> pa.Table:
    """Count traces that start within ``during``, each once a group: columns ``group``, ``bucket_ns``, ``traces``.

    A trace of which a roll-up has all is counted as its file is read; of others, what several places say is put
    together first.
    """
    counts: list[tuple[Int64s, Int64s, Int64s]] = []
    scattered = [members]
    for own in of_cells:
        elsewhere = through(ledger.repeated, own.rollup.hi)
        place, row = np.nonzero(own.has[:, elsewhere])
        row = np.flatnonzero(elsewhere)[row]
        scattered.append(Members(own.group[place], own.rollup.hi[row], own.rollup.lo[row]))
        counts += _by_bucket_of_file(own, ~elsewhere, during, edges)
    for rows in of_rows:
        shared = through(ledger.repeated, rows.hi)
        chosen = np.flatnonzero(shared[rows.trace])
        trace = rows.trace[chosen]
        scattered.append(Members(rows.group[rows.place[chosen]], rows.hi[trace], rows.lo[trace]))
        counts.append(_by_bucket_of_rows(rows, ~shared & _inside(rows.start, during), edges))
    parts = (np.concatenate([getattr(m, name) for m in scattered]) for name in ("group", "hi", "lo"))
    rest = Members(*parts).distinct()
    start = ledger.starts(rest.hi, rest.lo) if len(rest.hi) else np.zeros(0, np.int64)
    inside = _inside(start, during)
    bucket = _buckets(start[inside], edges)
    counts.append((rest.group[inside], bucket, np.ones(len(bucket), np.int64)))
    group, bucket, count = (np.concatenate([part[i] for part in counts]) for i in range(3))
    order = np.lexsort((bucket, group))
    first = np.flatnonzero(_news(group[order], bucket[order]))
    traces = np.add.reduceat(count[order], first) if len(first) else count
    return pa.table({"group": group[order][first], "bucket_ns": bucket[order][first], "traces": traces})


def _by_bucket_of_file(
    own: CellMembers, counts: Bools, during: Interval, edges: Int64s | None
) -> Iterator[tuple[Int64s, Int64s, Int64s]]:
    """Yield, bucket by bucket, how many of a file's traces each group has."""
    counts = counts & _inside(own.rollup.start, during)
    bucket = np.zeros(len(counts), np.int64)
    bucket[counts] = _buckets(own.rollup.start[counts], edges)
    for ns in _different(bucket[counts]).tolist():
        found = np.count_nonzero(own.has & (counts & (bucket == ns)), axis=1)
        some = found > 0
        yield own.group[some], np.full(some.sum(), ns), found[some]


def _by_bucket_of_rows(rows: RowMembers, counts: Bools, edges: Int64s | None) -> tuple[Int64s, Int64s, Int64s]:
    """Return how many of a file's traces each group has, by bucket."""
    buckets, of_counted = np.unique(_buckets(rows.start[counts], edges), return_inverse=True)
    slot = np.zeros(len(counts), np.int64)
    slot[counts] = of_counted
    chosen = np.flatnonzero(counts[rows.trace])
    size = max(1, len(buckets))
    pair = rows.place[chosen].astype(np.int64) * size + slot[rows.trace[chosen]]
    if size * len(rows.group) > _MOST_PLACES:
        some, count = np.unique(pair, return_counts=True)
        return rows.group[some // size], buckets[some % size], count
    found = np.bincount(pair, minlength=size * len(rows.group))
    some = np.flatnonzero(found)
    return rows.group[some // size], buckets[some % size], found[some]


def _inside(start: Int64s, during: Interval) -> Bools:
    inside = np.ones(len(start), np.bool_)
    if during.start_ns is not None:
        inside &= start >= during.start_ns
    if during.end_ns is not None:
        inside &= start < during.end_ns
    return inside


def _buckets(start: Int64s, edges: Int64s | None) -> Int64s:
    return np.zeros(len(start), np.int64) if edges is None else floor_to(start, edges)


def codes_of(table: pa.Table, names: Sequence[str]) -> tuple[Int64s, Int64s]:
    """Number the different rows of ``names``: return each row's number, and for each number a row that has it."""
    joint = np.zeros(len(table), np.int64)
    first = np.zeros(1 if len(table) else 0, np.int64)
    for name in names:
        values = whole(table[name])
        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        code = encoded.indices.fill_null(-1).to_numpy().astype(np.int64) + 1
        joint, first = _numbered(joint * (int(code.max(initial=0)) + 1) + code)
    return joint, first


def _numbered(values: Int64s) -> tuple[Int64s, Int64s]:
    """Return numbers without gaps in the order of ``values``, none negative, and the first place of each."""
    size = int(values.max(initial=0)) + 1
    if size > _MOST_NUMBERS:
        _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        return inverse, first
    place = np.full(size, -1)
    place[values[::-1]] = np.arange(len(values))[::-1]
    present = place >= 0
    return (np.cumsum(present) - 1)[values], place[present]


def _news(*columns: np.ndarray[Any, Any]) -> Bools:
    """Return which rows of ordered columns are not as the row before."""
    new = np.ones(len(columns[0]), np.bool_)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return new


def _find(known_hi: UInt64s, known_lo: UInt64s, hi: UInt64s, lo: UInt64s) -> Int64s:
    """Return where ids are among ordered ones, -1 where they are not."""
    if len(known_hi) == 0:
        return np.full(len(hi), -1)
    place = known_hi.searchsorted(hi)
    last = len(known_hi) - 1
    while True:
        # Of ids that begin alike, which are hardly ever there, the next is looked at.
        wrong = (known_hi[np.minimum(place, last)] == hi) & (known_lo[np.minimum(place, last)] < lo) & (place < last)
        if not wrong.any():
            break
        place = place + wrong
    place = np.minimum(place, last)
    return np.where((known_hi[place] == hi) & (known_lo[place] == lo), place, -1)


def _chosen(columns: Sequence[_Numbers], masks: Sequence[Bools]) -> _Numbers:
    """Return what masks let through of each of some columns (at least one), in one."""
    chosen: Any = np.concatenate([column[mask] for column, mask in zip(columns, masks, strict=True)])
    return chosen  # type: ignore[no-any-return]


def _by_id(hi: UInt64s, lo: UInt64s) -> Int64s:
    """Return the order of ids that are in order piece by piece, which a stable sort has little to do with."""
    order = np.argsort(hi, kind="stable")
    first, second = hi[order], lo[order]
    is_sorted = not np.any((first[1:] == first[:-1]) & (second[1:] < second[:-1]))
    return order if is_sorted else np.lexsort((lo, hi))


def _different(values: Int64s) -> Int64s:
    if len(values) == 0 or values.min() == values.max():
        return values[:1]
    ordered = np.sort(values)
    return ordered[_news(ordered)]
