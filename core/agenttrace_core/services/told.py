"""What a stream has told lately, in eight bytes each: there may be hundreds of streams in a process."""

from __future__ import annotations

import numpy as np

from agenttrace_core.schema.arrays import Bools, UInt64s

_LOOSE = 1024
_LOOSE_BYTES = 100


class Told:
    """Remembers the numbers that it was given last: half of ``remembered`` surely, and hardly more than all of that.

    Args:
        remembered: how many.
    """

    def __init__(self, remembered: int) -> None:
        self._half = max(1, remembered // 2)
        self._loose: set[int] = set()
        # Ascending. What is older than the older is forgotten when the newer is full.
        self._newer = self._older = np.zeros(0, np.uint64)

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self._newer.nbytes + self._older.nbytes + _LOOSE_BYTES * len(self._loose)

    def add(self, numbers: UInt64s) -> Bools:
        """Remember numbers, and return which of them are new: the first of those that are alike."""
        known = _among(numbers, self._newer) | _among(numbers, self._older)
        fresh = np.zeros(len(numbers), np.bool_)
        for at, number in enumerate(numbers.tolist()):
            fresh[at] = not known[at] and number not in self._loose
            self._loose.add(number)
        if len(self._loose) >= min(_LOOSE, self._half):
            self._settle()
        return fresh

    def _settle(self) -> None:
        loose = np.fromiter(self._loose, np.uint64, len(self._loose))
        self._loose = set()
        self._newer = np.union1d(self._newer, loose)
        if len(self._newer) >= self._half:
            self._newer, self._older = np.zeros(0, np.uint64), self._newer


def _among(numbers: UInt64s, ascending: UInt64s) -> Bools:
    if len(ascending) == 0:
        return np.zeros(len(numbers), np.bool_)
    at = np.minimum(ascending.searchsorted(numbers), len(ascending) - 1)
    found: Bools = ascending[at] == numbers
    return found
