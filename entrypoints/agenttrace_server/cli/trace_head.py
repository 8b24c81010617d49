"""What ``agenttrace trace`` says of a whole trace, above its tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from agenttrace_server.cli.text import dollars, duration, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_STATES = {"running": "cyan", "complete": "green", "broken": "yellow"}
_NAMED = (("models", "models"), ("agents", "agents"), ("tools", "tools"), ("sessions", "session"), ("users", "user"),
          ("tags", "tags"))  # fmt: skip
_SHOWN_NAMES = 6


def print_head(screen: Console, summary: dict[str, Any]) -> None:
    """Print a trace in a few lines: what, when, who, how much, and what went wrong."""
    from rich.text import Text

    from agenttrace_server.cli.traces import when

    title = Text(plain(summary.get("name") or "(no name)"), style="bold")
    state = summary.get("state") or "complete"
    title.append(f"  {state}", style=_STATES.get(state, ""))
    screen.print(title)
    first = summary.get("start_ns") or 0
    length = max(0, (summary.get("end_ns") or first) - first)
    facts = [when(first), duration(length), _counted(summary.get("spans", 0), "span")]
    facts += [f"{summary['errors']:,} with errors"] if summary.get("errors") else []
    facts += [f"{summary['running']:,} running"] if summary.get("running") else []
    screen.print(plain(f"{summary['trace_id']}  {' · '.join(facts)}"), style="dim")
    if summary.get("input_tokens") or summary.get("output_tokens") or summary.get("unpriced"):
        screen.print(f"{_tokens(summary)} · {_cost(summary)}", style="dim")
    for label, names in _named(summary):
        screen.print(Text(f"{label} ", style="dim").append(names), no_wrap=True, overflow="ellipsis", crop=True)
    for label, key in (("in ", "input_preview"), ("out", "output_preview")):
        if summary.get(key):
            said = Text(f"{label} ", style="dim").append(plain(summary[key], 200))
            screen.print(said, no_wrap=True, overflow="ellipsis", crop=True)
    for line in _wrong(summary):
        screen.print(line)
    screen.print()


def _tokens(summary: dict[str, Any]) -> str:
    parts = {name: summary.get(f"{name}_tokens") or 0 for name in ("cache_read", "cache_write", "reasoning")}
    read = [f"{parts['cache_read']:,} from cache"] if parts["cache_read"] else []
    read += [f"{parts['cache_write']:,} into it"] if parts["cache_write"] else []
    given = f"{summary.get('input_tokens') or 0:,} tokens in" + (f" ({', '.join(read)})" if read else "")
    gave = f"{summary.get('output_tokens') or 0:,} out"
    return f"{given}, {gave}" + (f" ({parts['reasoning']:,} of them thoughts)" if parts["reasoning"] else "")


def _cost(summary: dict[str, Any]) -> str:
    unpriced = summary.get("unpriced") or 0
    cost = dollars(summary.get("cost_usd"))
    if unpriced and not cost:
        return f"no price known ({_counted(unpriced, 'call')})"
    without = f", without {_counted(unpriced, 'call')} of no known price" if unpriced else ""
    return f"{cost or 'no cost'}{without}"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _named(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, label in _NAMED:
        names = summary.get(key) or []
        if names:
            yield label, _listed((plain(name, 60) for name in names), len(names))


def _wrong(summary: dict[str, Any]) -> Iterator[Text]:
    from rich.text import Text

    error = summary.get("error")
    if error:
        what = plain(error.get("type") or "an error", 80)
        message = f": {plain(error['message'], 300)}" if error.get("message") else ""
        where = f"{plain(error.get('name') or '', 80)} ({error['span_id']})"
        how = "failed by" if error.get("reached_top") else "got over"
        yield Text(f"✗ {how} {what}{message}", style="bold red").append(f"  in {where}", style="not bold")
    missing = summary.get("missing_parents") or []
    if missing:
        ids = _listed((item["span_id"] for item in missing), len(missing))
        yield Text(f"! parents that have not come: {ids}", style="yellow")
    if not summary.get("has_root", True):
        yield Text("! no root has come", style="yellow")
    skewed = summary.get("clock_skew") or []
    if skewed:
        yield Text(
            f"! clocks that are off, and corrected here: {_listed(map(_skew, skewed), len(skewed))}", style="yellow"
        )


def _skew(skew: dict[str, Any]) -> str:
    side = "behind" if skew["skew_ns"] > 0 else "ahead"
    return f"{plain(skew['service'], 60)} {duration(abs(skew['skew_ns']))} {side}"


def _listed(names: Iterable[str], count: int) -> str:
    """Return some names, and how many more there are."""
    more = f" and {count - _SHOWN_NAMES} more" if count > _SHOWN_NAMES else ""
    return ", ".join(islice(names, _SHOWN_NAMES)) + more
