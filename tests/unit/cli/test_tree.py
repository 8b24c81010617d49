"""The tree of a trace, broken ones included."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agenttrace_server.cli.tree import branches


def span(span_id: str, parent: str | None, start: int = 0) -> dict[str, Any]:
    return {"span_id": span_id, "parent_span_id": parent, "start_ns": start}


def drawn(spans: list[dict[str, Any]]) -> list[str]:
    return [f"{len(b.last) * '.'}{b.span_id}{'' if b.span else '?'}" for b in branches(spans)]


def test_children_hang_under_their_parents_in_order_of_start() -> None:
    """Lost: the tree shows steps in an order in which they did not happen."""
    assert drawn([span("c", "a", 3), span("b", "a", 2), span("a", None, 1), span("d", "b", 4)]) == [
        "a",
        ".b",
        "..d",
        ".c",
    ]


def test_a_missing_parent_is_shown_with_its_children_under_it() -> None:
    """Lost: spans whose parent was never sent are not seen, or seem to be roots."""
    assert drawn([span("b", "x", 1), span("c", "x", 2), span("a", None, 3)]) == ["a", "x?", ".b", ".c"]


def test_rings_are_shown() -> None:
    """Lost: spans that name each other as parents hang the command or vanish."""
    assert drawn([span("a", "b", 1), span("b", "a", 2), span("c", "c", 3)]) == ["a", ".b", "c"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([*"abcdefg", None]), st.integers(0, 3))))
def test_every_span_is_shown_exactly_once(shape: list[tuple[str, str | None, int]]) -> None:
    """Lost: a trace in which something happened that its tree does not show."""
    spans = [span(*one) for one in shape]
    shown = [id(branch.span) for branch in branches(spans) if branch.span is not None]
    assert sorted(shown) == sorted(id(one) for one in spans)


def test_a_chain_of_five_thousand_is_drawn() -> None:
    """Lost: a deep trace ends in RecursionError."""
    began = time.monotonic()
    spans = [span(f"{n:04}", f"{n - 1:04}" if n else None, n) for n in range(5000)]
    assert sum(1 for _ in branches(spans)) == 5000
    assert time.monotonic() - began < 5
