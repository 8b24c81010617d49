"""What counts, and who owns what, by plain loops over one trace: the second opinion to the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

INFERENCE = {"chat", "generate_content", "text_completion", "embeddings"}
NAMES = ("agent", "session_id", "user_id")

Row = Mapping[str, Any]


def parents_of(rows: Sequence[Row]) -> dict[str, str | None]:
    """The parent of each span id: the least that is named; of a circle, the node of the least id has none."""
    parents = _named(rows)
    # A span of a circle is its own ancestor, and its line is the circle.
    for span in {min(line) for span in parents if span in (line := line_of(span, parents))}:
        parents[span] = None
    return parents


def has_circles(rows: Sequence[Row]) -> bool:
    """Whether some span is its own ancestor."""
    return parents_of(rows) != _named(rows)


def _named(rows: Sequence[Row]) -> dict[str, str | None]:
    parents: dict[str, str | None] = {}
    for row in rows:
        named = [r["parent_span_id"] for r in rows if r["span_id"] == row["span_id"] and r["parent_span_id"]]
        parents[row["span_id"]] = min(named, default=None)
    return parents


def line_of(span: str, parents: Mapping[str, str | None]) -> list[str]:
    """The ancestors of a span, nearest first, up to one that is not there or comes again."""
    line: list[str] = []
    at = parents.get(span)
    while at is not None and at not in line:
        line.append(at)
        at = parents.get(at)
    return line


def carries(row: Row) -> bool:
    return any(row[name] is not None for name in ("input_tokens", "output_tokens", "cost_usd", "given_cost_usd"))


def counted(rows: Sequence[Row], denied: int) -> list[bool | None]:
    """The column ``counted``."""
    parents = parents_of(rows)
    return [_counts(row, rows, parents, denied) if carries(row) else None for row in rows]


def _counts(row: Row, rows: Sequence[Row], parents: Mapping[str, str | None], denied: int) -> bool:
    below = [
        r for r in rows
        if row["span_id"] in line_of(r["span_id"], parents) and carries(r) and r["operation"] != "fetch_response"
    ]  # fmt: skip
    if row["operation"] == "fetch_response" or row["quality"] & denied:
        return False
    if row["operation"] in INFERENCE:
        return not any(r["operation"] in INFERENCE for r in below)
    return not below


def context(rows: Sequence[Row]) -> list[tuple[str | None, ...]]:
    """Agent, session, user and ref of each row."""
    parents = parents_of(rows)
    return [_context(row, rows, parents) for row in rows]


def _context(row: Row, rows: Sequence[Row], parents: Mapping[str, str | None]) -> tuple[str | None, ...]:
    line = line_of(row["span_id"], parents)
    names: list[str | None] = []
    for name in NAMES:
        found = [row[name]]
        found += [
            min((r[name] for r in rows if r["span_id"] == span and r[name]), default=None)
            for span in (row["span_id"], *line)
        ]
        names.append(next((value for value in found if value is not None), None))
    lost = [span for span in line if span not in parents]
    return (*names, lost[0] if lost and None in names else None)
