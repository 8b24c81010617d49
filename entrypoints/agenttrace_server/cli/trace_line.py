"""A span as one line of ``agenttrace trace``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttrace_server.cli.text import count, dollars, duration, plain
from agenttrace_server.cli.tree import Branch, guide

if TYPE_CHECKING:
    from rich.text import Text

_BAR, _NARROW_BAR = 20, 8
_NARROW = 110
"""Columns below which the bar is narrow."""
_WIDEST_NAME = 90
_BESIDE = 54
"""Columns that all but the name and the bar take."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How lines are drawn: when the trace began and how long it took, what is how wide, and what is on the path."""

    first_ns: int
    length_ns: int
    width: int
    bar: int
    critical: frozenset[str]

    @classmethod
    def of(cls, summary: dict[str, Any], columns: int) -> Drawing:
        """Fit the lines of a trace into a terminal of so many columns."""
        first = summary.get("start_ns") or 0
        bar = _NARROW_BAR if columns < _NARROW else _BAR
        return cls(
            first,
            max(1, (summary.get("end_ns") or first) - first),
            min(_WIDEST_NAME, max(24, columns - bar - _BESIDE)),
            bar,
            frozenset(step["span_id"] for step in summary.get("critical_path") or ()),
        )

    @property
    def deepest(self) -> int:
        """So many levels fit in front of a name."""
        return (self.width - 12) // 3

    def line(self, branch: Branch) -> Text:
        """Return the line of one span: name, operation, duration, when it ran, model, tokens and cost."""
        from rich.text import Text

        line = Text().append(guide(branch, self.deepest), style="dim")
        span = branch.span
        if span is None:
            return line.append(f"(span {plain(branch.span_id)} has not come)", style="yellow")
        failed = span.get("status") == "error"
        line.append(plain(span.get("name") or "(no name)", 120), style="bold red" if failed else "")
        if failed:
            line.append(" ✗", style="bold red")
        line.truncate(self.width, overflow="ellipsis", pad=True)
        what = span.get("operation") or span.get("kind") or ""
        line.append(f" {plain(what, 15):<15.15}", style="cyan")
        critical = span["span_id"] in self.critical
        line.append(" ◆" if critical else "  ", style="yellow")
        line.append(f"{_lasted(span):>9} ")
        line.append(self._bar(span), style="red" if failed else "yellow" if critical else "green")
        for text, style in _facts(span):
            line.append(f" {text}", style=style)
        return line

    def below(self, branch: Branch) -> str:
        """Return what is drawn in front of a line that tells more of a span."""
        return guide(branch, self.deepest, below=True) + "  "

    def _bar(self, span: dict[str, Any]) -> str:
        """Draw when a span ran within its trace: at least one character of the bar is filled."""
        start, bar = span.get("start_ns"), self.bar
        if start is None:
            return " " * bar
        after = start + (span.get("skew_ns") or 0) - self.first_ns
        until = after + max(0, span.get("duration_ns") or 0)
        begin: int = min(bar - 1, max(0, after * bar // self.length_ns))
        end: int = min(bar, max(begin + 1, -(-until * bar // self.length_ns)))
        return " " * begin + "█" * (end - begin) + " " * (bar - end)


def _lasted(span: dict[str, Any]) -> str:
    runs = {"running", "no_end"} & set(span.get("quality") or ())
    return "running" if runs else duration(span.get("duration_ns"))


def _facts(span: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who was asked, and what it took: those of a call that does not count in sums are told in brackets."""
    facts: list[tuple[str, str]] = []
    named = span.get("model") or span.get("tool") or span.get("agent")
    if named:
        facts.append((plain(named, 24), "magenta"))
    tokens = [span.get("input_tokens"), span.get("output_tokens")]
    if any(tokens):
        told = f"{count(tokens[0]) or 0}→{count(tokens[1]) or 0}"
        cost = dollars(span.get("cost_usd"))
        told = f"{told} {cost}" if cost else told
        facts.append((told if span.get("counted") is not False else f"({told})", "dim"))
    return facts
