"""Exact percentiles of groups whose values lie in several places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[np.int64]]


def quantiles_of(
    groups: Sequence[Iterable[Values]], quantiles: Sequence[float], *, threads: int
) -> list[list[float] | None]:
    """Return the quantiles of each group's values, interpolated linearly; None where it has no value."""
    with ThreadPoolExecutor(threads) as pool:  # sorting lets go of the interpreter's lock
        return list(pool.map(lambda pieces: _quantiles(pieces, quantiles), groups))


def add_lists(
    pieces: Sequence[list[Values]], groups: Values, values: Values, offsets: Values, lists: Values | None = None
) -> None:
    """Add lists to the pieces of their groups: ``lists``, or all, of those that begin in ``values`` at ``offsets``.

    What a group has of these is put together to one piece: there may be many lists, and all short.
    """
    left, right = (offsets[:-1], offsets[1:]) if lists is None else (offsets[lists], offsets[lists + 1])
    order = np.argsort(groups, kind="stable")
    groups, left = groups[order], left[order].astype(np.int64)
    counts = right[order] - left
    ends = np.cumsum(counts)
    taken = values[np.repeat(left - (ends - counts), counts) + np.arange(int(counts.sum()))]
    last = np.flatnonzero(np.diff(groups, append=-1))
    begin = 0
    for group, end in zip(groups[last].tolist(), ends[last].tolist(), strict=True):
        pieces[group].append(taken[begin:end])
        begin = end


def _quantiles(pieces: Iterable[Values], quantiles: Sequence[float]) -> list[float] | None:
    values = np.concatenate([np.zeros(0, np.int64), *pieces])
    if len(values) == 0:
        return None
    ranks = [(len(values) - 1) * q for q in quantiles]
    places = [(int(np.floor(rank)), int(np.ceil(rank))) for rank in ranks]
    values.partition(sorted({place for pair in places for place in pair}))
    found: list[float] = []
    for rank, (below, above) in zip(ranks, places, strict=True):
        low, high = float(values[below]), float(values[above])
        found.append(low + (high - low) * (rank - below))
    return found
