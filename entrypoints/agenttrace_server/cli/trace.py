"""``agenttrace trace ID``: one trace in few words, and as a tree with times, tokens, costs and errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenttrace_core.errors import InvalidInputError, NotFoundError
from agenttrace_server.cli.options import client_options

if TYPE_CHECKING:
    from rich.console import Console

    from agenttrace_server.cli.client import Client

_RECENT = 500
_PAGE = 1_000


@click.command("trace")
@client_options
@click.argument("trace_id", metavar="ID")
@click.option("--limit", "-n", type=click.IntRange(1), default=500, show_default=True, help="At most so many spans.")
@click.option("--messages", "-m", is_flag=True, help="What was said in each span, below it.")
@click.option("--span", "-s", metavar="SPAN", help="Only this span, and all below it.")
@click.option("--depth", "-d", type=click.IntRange(0), help="Only so many levels below the first.")
@click.option("--query", "-q", default="", help="Only the spans that this selects, such as 'status:error'.")
@click.option("--pager", is_flag=True, help="Show it in your pager.")
@click.option("--otlp", is_flag=True, help="The whole trace as OTLP/JSON instead.")
@click.option("--json", "as_json", is_flag=True, help="Summary and light spans as JSON instead.")
def trace_command(
    config: Path | None,
    data: Path | None,
    api: str | None,
    trace_id: str,
    limit: int,
    messages: bool,
    span: str | None,
    depth: int | None,
    query: str,
    pager: bool,
    otlp: bool,
    as_json: bool,
) -> None:
    """Show one trace as a tree. ID may be shortened to its first digits if a recent trace is meant."""
    from agenttrace_server.cli.client import Client, Server
    from agenttrace_server.cli.terminal import console, write_json

    with Client(Server.find(api, data=data, config=config)) as client:
        path = f"/api/v1/traces/{_full_id(client, trace_id)}"
        if otlp:
            write_json(client.get_bytes(path, format="otlp"))
            return
        summary = client.get(path, limit=1)["summary"]
        asked = {"subtree": span, "depth": depth, "q": query or None}
        spans = _Spans(client, path, {name: value for name, value in asked.items() if value is not None}, limit)
        if as_json:
            click.echo(json.dumps({"summary": summary, "spans": list(spans)}))
            return
        screen = console()
        if not pager:
            _print(screen, client, path, summary, spans, messages=messages)
            return
        with screen.capture() as captured:
            _print(screen, client, path, summary, spans, messages=messages)
        os.environ.setdefault("LESS", "-RFX")  # colours, as git has it
        click.echo_via_pager(captured.get(), color=screen.is_terminal)


class _Spans:
    """The spans that are asked for, page by page; ``matched`` is how many there are in all, once the first has come."""

    def __init__(self, client: Client, path: str, asked: dict[str, Any], limit: int) -> None:
        self._client = client
        self._path = f"{path}/spans"
        self._asked = asked
        self._limit = limit
        self.matched = 0
        self.shown = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while self.shown < self._limit:
            at = {"cursor": cursor} if cursor else {}
            page = self._client.get(self._path, **self._asked, limit=min(_PAGE, self._limit - self.shown), **at)
            self.matched = page["matched"]
            self.shown += len(page["spans"])
            # What hangs under what cannot be told from a selection.
            yield from ({**s, "depth": 0, "orphan": False} if "q" in self._asked else s for s in page["spans"])
            cursor = page["next_cursor"]
            if not cursor:
                return


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


def _print(
    screen: Console, client: Client, path: str, summary: dict[str, Any], spans: _Spans, *, messages: bool
) -> None:
    from rich.text import Text

    from agenttrace_server.cli.conversation import Conversation
    from agenttrace_server.cli.text import plain
    from agenttrace_server.cli.trace_head import print_head
    from agenttrace_server.cli.trace_line import Drawing
    from agenttrace_server.cli.tree import branches

    print_head(screen, summary)
    drawing, said = Drawing.of(summary, screen.width), Conversation()
    for branch in branches(spans):
        screen.print(drawing.line(branch), overflow="ellipsis", no_wrap=True, crop=True)
        span, below = branch.span, drawing.below(branch)
        if span is None:
            continue
        if span.get("status_message"):
            failure = f"{below}{plain(span['status_message'], 200)}"
            screen.print(failure, style="red", no_wrap=True, overflow="ellipsis", crop=True)
        if messages and _says_something(span):
            for line in said.lines(client.get(f"{path}/spans/{span['span_id']}")):
                for piece in line.wrap(screen, max(20, screen.width - len(below))):
                    screen.print(Text(below, style="dim").append_text(piece))
    _print_foot(screen, spans, has_path=bool(drawing.critical))


def _print_foot(screen: Console, spans: _Spans, *, has_path: bool) -> None:
    if has_path:
        screen.print("◆ critical path: what the trace waited for", style="dim")
    if spans.shown < spans.matched:
        more = spans.matched - spans.shown
        hint = f"… {more:,} more spans: --limit {spans.matched}, or a part of it: --depth 1, --span ID, --query TEXT"
        screen.print(hint, style="dim")


def _says_something(span: dict[str, Any]) -> bool:
    return any(span.get(name) for name in ("input_preview", "output_preview", "operation", "tool", "model"))
