"""``agenttrace trace ID``: one trace as a tree, with times, tokens and errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenttrace_core.errors import InvalidInputError, NotFoundError
from agenttrace_server.cli.options import client_options
from agenttrace_server.cli.text import count, duration, plain

if TYPE_CHECKING:
    from rich.text import Text

    from agenttrace_server.cli.client import Client
    from agenttrace_server.cli.tree import Branch

_BAR = 20
_WIDEST_NAME = 90
_RECENT = 500


@click.command("trace")
@client_options
@click.argument("trace_id", metavar="ID")
@click.option("--limit", "-n", type=click.IntRange(1), default=1000, show_default=True, help="At most so many spans.")
@click.option("--otlp", is_flag=True, help="The whole trace as OTLP/JSON instead.")
@click.option("--json", "as_json", is_flag=True, help="Summary and light spans as JSON instead.")
def trace_command(
    config: Path | None, data: Path | None, api: str | None, trace_id: str, limit: int, otlp: bool, as_json: bool
) -> None:
    """Show one trace as a tree. ID may be shortened to its first digits if a recent trace is meant."""
    from agenttrace_server.cli.client import Client, Server

    with Client(Server.find(api, data=data, config=config)) as client:
        path = f"/api/v1/traces/{_full_id(client, trace_id)}"
        if otlp:
            sys.stdout.buffer.write(client.get_bytes(path, format="otlp") + b"\n")
            return
        summary = client.get(path, limit=1)["summary"]
        spans = list(client.pages(path, limit=limit, page=1000, items="spans"))
    if as_json:
        click.echo(json.dumps({"summary": summary, "spans": spans}))
    else:
        _print(summary, spans)


def _full_id(client: Client, text: str) -> str:
    text = text.lower()
    if not text or len(text) > 32 or any(c not in "0123456789abcdef" for c in text):
        raise InvalidInputError(f"{text[:80]!r} is not a trace id: up to 32 hex digits are wanted")
    if len(text) == 32:
        return text
    recent = (str(item["trace_id"]) for item in client.pages("/api/v1/traces", limit=_RECENT))
    found = [trace_id for trace_id in recent if trace_id.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"none of the {_RECENT} newest traces begins with {text}")
    raise InvalidInputError(f"{len(found)} recent traces begin with {text}: give more digits")


def _print(summary: dict[str, Any], spans: list[dict[str, Any]]) -> None:
    from agenttrace_server.cli.terminal import console
    from agenttrace_server.cli.traces import when
    from agenttrace_server.cli.tree import branches

    screen = console()
    total = summary.get("spans", len(spans))
    first = summary.get("start_ns") or 0
    length = max(1, (summary.get("end_ns") or first) - first)
    facts = [when(first), duration(length), f"{total:,} spans"]
    facts += [f"{summary['errors']:,} with errors"] if summary.get("errors") else []
    facts += [f"{summary.get('input_tokens') or 0:,} tokens in, {summary.get('output_tokens') or 0:,} out"]
    screen.print(plain(summary.get("name") or "(no name)"), style="bold")
    screen.print(plain(f"{summary['trace_id']}  {' · '.join(facts)}"), style="dim")
    width = min(_WIDEST_NAME, max(24, screen.width - _BAR - 46))
    deepest = (width - 16) // 3
    for branch in branches(spans):
        screen.print(_line(branch, first, length, width, deepest), overflow="ellipsis", no_wrap=True, crop=True)
        message = branch.span.get("status_message") if branch.span else None
        if message:
            guide = _guide(branch.last, deepest, below=True)
            screen.print(f"{guide}  {plain(message, 200)}", style="red", no_wrap=True, overflow="ellipsis", crop=True)
    if len(spans) < total:
        screen.print(f"… {total - len(spans):,} more spans: --limit {total}", style="dim")


def _line(branch: Branch, first: int, length: int, width: int, deepest: int) -> Text:
    from rich.text import Text

    line = Text().append(_guide(branch.last, deepest), style="dim")
    span = branch.span
    if span is None:
        return line.append(f"(span {plain(branch.span_id)} has not come)", style="yellow")
    failed = span.get("status") == "error"
    line.append(plain(span.get("name") or "(no name)", 120), style="bold red" if failed else "")
    if failed:
        line.append(" ✗", style="bold red")
    line.truncate(width, overflow="ellipsis", pad=True)
    what = span.get("operation") or span.get("kind") or ""
    line.append(f" {plain(what, 15):<15.15}", style="cyan")
    line.append(f" {duration(span.get('duration_ns')):>9} ")
    line.append(_bar(span, first, length), style="red" if failed else "green")
    tokens = [span.get("input_tokens"), span.get("output_tokens")]
    if any(tokens):
        line.append(f" {count(tokens[0]) or 0}→{count(tokens[1]) or 0}", style="dim")
    return line


def _guide(last: tuple[bool, ...], deepest: int, *, below: bool = False) -> str:
    """Draw the lines that lead to a span. Of a chain deeper than ``deepest`` only the end is drawn, after its depth."""
    shown = last[-deepest:]
    head = f"[{len(last)}] " if len(last) > deepest else ""
    if not shown:
        return ""
    *above, own = shown
    guide = head + "".join("   " if end else "│  " for end in above)
    if below:
        return guide + ("   " if own else "│  ")
    return f"{guide}{'└─ ' if own else '├─ '}"


def _bar(span: dict[str, Any], first: int, length: int) -> str:
    """Draw when a span ran within its trace: ``_BAR`` characters, at least one of them filled."""
    start = span.get("start_ns")
    if start is None:
        return " " * _BAR
    begin: int = min(_BAR - 1, max(0, (start - first) * _BAR // length))
    end: int = min(_BAR, max(begin + 1, -(-(start - first + max(0, span.get("duration_ns") or 0)) * _BAR // length)))
    return " " * begin + "█" * (end - begin) + " " * (_BAR - end)
