"""The lines of a tree: what is drawn in front of each span. The server says which span hangs under which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_DRAWN = 40
"""So many levels above a line are drawn at most."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of the tree.

    ``span`` is None for a parent that has not come. ``last`` says of each of the nearest levels down to this one
    whether it is the last of its siblings; ``depth`` is how many levels there are.
    """

    span: dict[str, Any] | None
    span_id: str
    depth: int
    last: tuple[bool, ...]


def branches(spans: Iterable[dict[str, Any]]) -> Iterator[Branch]:
    """Iterate over the lines of spans that come in tree order, with ``depth``, ``orphan`` and ``parent_span_id``."""
    lines = list(_lines(spans))
    ends = _ends([depth for _, _, depth in lines])
    above: list[bool] = []
    for (span, span_id, depth), end in zip(lines, ends, strict=True):
        del above[max(0, depth - 1) :]
        if depth:
            above.append(end)
        yield Branch(span, span_id, depth, tuple(above[-_DRAWN:]))


def guide(branch: Branch, deepest: int, *, below: bool = False) -> str:
    """Draw the lines that lead to a span, or to what is told below it.

    Of a chain deeper than ``deepest`` only the end is drawn, after its depth.
    """
    shown = branch.last[-min(deepest, _DRAWN) :]
    if not shown:
        return ""
    head = f"[{branch.depth}] " if branch.depth > len(shown) else ""
    *above, own = shown
    drawn = head + "".join("   " if end else "│  " for end in above)
    if below:
        return drawn + ("   " if own else "│  ")
    return f"{drawn}{'└─ ' if own else '├─ '}"


def _lines(spans: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any] | None, str, int]]:
    """Put a line for each missing parent before the spans that name it, and those one level below."""
    base: int | None = None
    missing: str | None = None
    for span in spans:
        base = span["depth"] if base is None else base
        depth: int = max(0, span["depth"] - base)
        if depth == 0:
            parent = span["parent_span_id"] if span.get("orphan") else None
            if parent is not None and parent != missing:
                yield None, parent, 0
            missing = parent
        yield span, span["span_id"], depth + (missing is not None)


def _ends(depths: list[int]) -> list[bool]:
    """Say of each line whether no sibling of it comes later."""
    ends = [False] * len(depths)
    later: list[bool] = []
    for i in range(len(depths) - 1, -1, -1):
        depth = depths[i]
        later.extend([False] * (depth + 1 - len(later)))
        del later[depth + 1 :]
        ends[i] = not later[depth]
        later[depth] = True
    return ends
