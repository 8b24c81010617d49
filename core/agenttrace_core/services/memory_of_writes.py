"""What a writer remembers of what it has written, bounded, so that a repetition is met with suspicion."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xxhash

from agenttrace_core.schema.arrays import UInt64s


def body_hash(project: str, body: bytes) -> bytes:
    """Return the 16 bytes by which the same body is known again in the same project."""
    hasher = xxhash.xxh3_128(project.encode() + b"\0")
    hasher.update(body)
    return hasher.digest()


class BodyMemory:
    """The newest ``limit`` body hashes, in the order in which they were added."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[bytes, None] = {}

    def add(self, hashes: Iterable[bytes]) -> None:
        """Remember, and forget the oldest beyond the limit."""
        for digest in hashes:
            self._known.pop(digest, None)
            self._known[digest] = None
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._known


class IdentityFilter:
    """The newest identity hashes (at least ``limit``, at most twice that), 8 bytes each.

    Kept as sorted runs of about doubling length, so that adding costs little and asking is a binary
    search in a few arrays.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._runs: list[UInt64s] = []

    def add(self, hashes: UInt64s) -> None:
        """Remember the identities of one batch."""
        if len(hashes) == 0:
            return
        self._runs.append(np.sort(hashes))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]) and self._may_join():
            newest = self._runs.pop()
            self._runs[-1] = np.sort(np.concatenate([self._runs[-1], newest]), kind="stable")
        while sum(map(len, self._runs[1:])) >= self._limit:
            del self._runs[0]

    def _may_join(self) -> bool:
        # Runs beyond the half of what is kept stay apart, so that the oldest can be forgotten.
        return len(self._runs[-2]) + len(self._runs[-1]) <= max(1, self._limit // 2)

    def suspects(self, hashes: UInt64s) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return which of ``hashes`` have been added before, as far as is remembered."""
        seen = np.zeros(len(hashes), np.bool_)
        if len(hashes) == 0:
            return seen
        order = np.argsort(hashes)
        ascending = hashes[order]
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, ascending), len(run) - 1)
            seen[order] |= run[place] == ascending
        return seen

    def __len__(self) -> int:
        return sum(map(len, self._runs))
