"""When a trace runs, is complete, or is broken."""

from __future__ import annotations

import pytest

from agenttrace_core.model.trace import AsOf

NOW = AsOf(now_ns=1_000 * 10**9, broken_after_ns=600 * 10**9)


@pytest.mark.parametrize(
    ("running", "has_root", "silent_s", "state"),
    [
        (1, True, 5, "running"),
        (1, False, 900, "running"),
        (0, True, 900, "complete"),
        (0, True, 0, "complete"),
        (0, False, 600, "running"),
        (0, False, 601, "broken"),
    ],
)
def test_the_state_of_a_trace(running: int, has_root: bool, silent_s: int, state: str) -> None:
    """Lost otherwise: what still works, told from what is over, and from what nobody will end."""
    assert NOW.state(running=running, has_root=has_root, received_ns=NOW.now_ns - silent_s * 10**9) == state
