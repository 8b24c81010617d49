"""The tree of a trace, broken ones included, as it is drawn."""

from __future__ import annotations

import time
from typing import Any

from agenttrace_server.cli.tree import branches, guide


def span(name: str, depth: int, missing: str | None = None) -> dict[str, Any]:
    return {"span_id": name, "depth": depth, "parent_span_id": missing, "orphan": missing is not None}


def drawn(spans: list[dict[str, Any]]) -> list[str]:
    return [f"{guide(b, 10)}{b.span_id}{'' if b.span else '?'}" for b in branches(spans)]


def test_lines_lead_to_each_span() -> None:
    """Lost: the tree cannot be read."""
    levels = zip("abcdefg", (0, 1, 2, 2, 1, 2, 0), strict=True)
    assert drawn([span(name, depth) for name, depth in levels]) == [
        "a", "├─ b", "│  ├─ c", "│  └─ d", "└─ e", "   └─ f", "g",
    ]  # fmt: skip


def test_a_missing_parent_is_shown_with_its_children_under_it() -> None:
    """Lost: spans whose parent was never sent are not seen, or seem to be roots."""
    spans = [span("b", 0, "x"), span("d", 1), span("c", 0, "x"), span("a", 0), span("e", 0, "y")]
    assert drawn(spans) == ["x?", "├─ b", "│  └─ d", "└─ c", "a", "y?", "└─ e"]


def test_a_part_of_a_trace_begins_at_its_own_level() -> None:
    """Lost: a subtree is pushed off the screen by levels that are not shown."""
    assert drawn([span("c", 5), span("d", 6)]) == ["c", "└─ d"]


def test_a_chain_of_fifty_thousand_is_drawn() -> None:
    """Lost: a deep trace ends in RecursionError, or takes all memory."""
    began = time.monotonic()
    *_, last = branches(span(f"{n:05}", n) for n in range(50_000))
    assert guide(last, 5).startswith("[49999] ")
    assert time.monotonic() - began < 5
