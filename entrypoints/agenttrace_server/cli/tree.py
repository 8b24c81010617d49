"""The shape of a trace: which span hangs under which, in the order in which to print them.

Traces come broken: parents that are missing, spans that name each other as parents, chains
thousands deep, one id twice. Everything is shown once all the same, and nothing recurses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of the tree.

    ``span`` is None for a parent that has not come; ``last`` says of each level down to this one
    whether it is the last of its siblings.
    """

    span: dict[str, Any] | None
    span_id: str
    last: tuple[bool, ...]


def branches(spans: Iterable[dict[str, Any]]) -> Iterator[Branch]:
    """Iterate over the lines of the tree, each span exactly once, children by start time."""
    ordered = sorted(spans, key=lambda span: (span.get("start_ns") or 0, span["span_id"]))
    ids = {span["span_id"] for span in ordered}
    children: dict[str | None, list[int]] = {}
    for number, span in enumerate(ordered):
        children.setdefault(span.get("parent_span_id") or None, []).append(number)
    missing = [parent for parent in children if parent is not None and parent not in ids]
    shown: set[int] = set()
    tops: list[tuple[str | None, list[int]]] = [("", [number]) for number in children.get(None, [])]
    tops += [(parent, children[parent]) for parent in missing]
    yield from _walk(tops, ordered, children, shown)
    # What is left is a ring of spans that are each other's ancestors: begin it at its earliest.
    for number in range(len(ordered)):
        if number not in shown:
            yield from _walk([("", [number])], ordered, children, shown)


def _walk(
    tops: list[tuple[str | None, list[int]]],
    spans: list[dict[str, Any]],
    children: dict[str | None, list[int]],
    shown: set[int],
) -> Iterator[Branch]:
    for absent, numbers in tops:
        base: tuple[bool, ...] = ()
        if absent:
            yield Branch(None, absent, ())
            base = (True,)
        stack = [(number, (*base[:-1], number == numbers[-1]) if base else ()) for number in reversed(numbers)]
        while stack:
            number, last = stack.pop()
            if number in shown:
                continue
            shown.add(number)
            span = spans[number]
            yield Branch(span, span["span_id"], last)
            below = [child for child in children.get(span["span_id"], []) if child not in shown]
            stack += [(child, (*last, child == below[-1])) for child in reversed(below)]
