"""A bounded table of records by 64-bit key, in columns: what was used last stays, what was not is forgotten.

Two halves of open addressing with linear probing. What is read or written is put into the younger half; when
that is full it becomes the older one, which is dropped. Keys must be well mixed, as ``TreeKeys`` are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s

Records = np.ndarray[Any, np.dtype[np.void]]

_FIRST_SLOTS = 1 << 12
_FULL = 0.6


class KeyTable:
    """Records of a structured type whose first field is ``key``; a key is never 0.

    Args:
        record: the type.
        slots: of one half, at most, a power of two; each begins with few and grows.
        lasting: marks records of the half that is to be dropped which are kept all the same.
    """

    def __init__(
        self, record: np.dtype[np.void], slots: int, lasting: Callable[[Records], Bools] | None = None
    ) -> None:
        self._most = slots
        self._lasting = lasting
        self._young = np.zeros(min(_FIRST_SLOTS, slots), record)
        self._old = np.zeros(1, record)
        self._count = 0
        self.generation = 0
        """How often a half was dropped. What was put in generation ``n`` is there until ``n + 1`` has ended."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self._young.nbytes + self._old.nbytes

    def halves(self) -> tuple[Records, Records]:
        """Return both halves as they lie in memory, with empty slots; their fields may be changed in place."""
        return self._young, self._old

    def get(self, keys: UInt64s) -> tuple[Bools, Records]:
        """Return which of ``keys`` (distinct) are known, and their records: zeros, but for the key, where not."""
        at = _find(self._young, keys)
        found = at >= 0
        records = np.zeros(len(keys), self._young.dtype)
        records["key"] = keys
        records[found] = self._young[at[found]]
        missing = np.flatnonzero(~found)
        if len(missing):
            at = _find(self._old, keys[missing])
            older = missing[at >= 0]
            records[older] = self._old[at[at >= 0]]
            found[older] = True
            if len(older):
                self.put(records[older])  # in use: it shall not be forgotten yet
        return found, records

    def put(self, records: Records) -> None:
        """Add or replace records of distinct keys."""
        # A half has room for what comes at once, and for what is kept from the one before.
        most = max(self._most, 1 << (4 * len(records)).bit_length())
        while self._count + len(records) > _FULL * len(self._young):
            if len(self._young) < most:
                self._grow()
            else:
                self._turn()
        self._count += _insert(self._young, records)

    def _grow(self) -> None:
        records = self._young[self._young["key"] != 0]
        self._young = np.zeros(2 * len(self._young), self._young.dtype)
        _insert(self._young, records)

    def _turn(self) -> None:
        """Drop the older half."""
        gone, self._old = self._old, self._young
        self._young, self._count = np.zeros(len(self._old), self._old.dtype), 0
        self.generation += 1
        if self._lasting is not None:
            kept = gone[gone["key"] != 0]
            kept = kept[self._lasting(kept)]
            kept = kept[_find(self._old, kept["key"]) < 0][: len(self._young) // 8]
            self._count = _insert(self._young, kept)


def _find(table: Records, keys: UInt64s) -> Int64s:
    """Return the slot of each key, -1 where it is not there."""
    mask = len(table) - 1
    known = table["key"]
    slot = (keys & np.uint64(mask)).astype(np.int64)
    found = np.full(len(keys), -1, np.int64)
    todo = np.arange(len(keys))
    while len(todo):
        there = known[slot[todo]]
        hit = there == keys[todo]
        found[todo[hit]] = slot[todo[hit]]
        todo = todo[~hit & (there != 0)]
        slot[todo] = (slot[todo] + 1) & mask
    return found


def _insert(table: Records, records: Records) -> int:
    """Put records of distinct keys into a table that has room. Return how many were not there before."""
    mask = len(table) - 1
    known, keys = table["key"], records["key"]
    slot = (keys & np.uint64(mask)).astype(np.int64)
    todo = np.arange(len(keys))
    added = 0
    while len(todo):
        at = slot[todo]
        free = known[at] == 0
        # Of several that want one slot the last to be written has it; the others go on.
        known[at[free]] = keys[todo[free]]
        mine = known[at] == keys[todo]
        table[at[mine]] = records[todo[mine]]
        added += int(np.count_nonzero(mine & free))
        todo = todo[~mine]
        slot[todo] = (slot[todo] + 1) & mask
    return added
