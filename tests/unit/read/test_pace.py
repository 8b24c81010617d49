"""How often a reader of the queue makes a chunk."""

from __future__ import annotations

import pytest

from agenttrace_core.services.follow import rest_s


@pytest.mark.parametrize(
    ("took_s", "waits_s"),
    [(0.0, 0.1), (0.02, 0.08), (0.05, 0.1), (0.1, 0.2), (2.0, 0.5)],
    ids=["idle", "quick", "a third", "slow", "very slow"],
)
def test_a_chunk_is_due_in_time_and_later_where_chunks_take_long(took_s: float, waits_s: float) -> None:
    """Lost otherwise: on a busy machine chunks are as small as on an idle one, and cost several times as much."""
    assert rest_s(took_s, 0.1) == pytest.approx(waits_s)
