"""What a live stream remembers of the spans that it has told."""

from __future__ import annotations

from random import Random

import numpy as np

from agenttrace_core.services.told import Told


def test_what_was_told_lately_is_known_and_what_is_new_is_new() -> None:
    """Lost otherwise: spans on a live stream, or they come twice whenever a sender retries."""
    told, given, rng = Told(4_000), list[int](), Random(1)
    for _ in range(200):
        again = [rng.choice(given[-2_000:]) for _ in range(20)] if given else []
        fresh = [rng.getrandbits(64) for _ in range(100)]
        batch = [*fresh, *again, fresh[0]]
        assert told.add(np.array(batch, np.uint64)).tolist() == [True] * 100 + [False] * (len(again) + 1)
        given += fresh
    assert told.add(np.zeros(0, np.uint64)).tolist() == []


def test_a_stream_remembers_in_bounded_memory() -> None:
    """Lost otherwise: two gigabytes, for a hundred dashboards that follow a busy project."""
    told = Told(100_000)
    for begin in range(0, 1_000_000, 5_000):
        told.add(np.arange(begin, begin + 5_000, dtype=np.uint64))
    assert told.nbytes < 1_500_000
