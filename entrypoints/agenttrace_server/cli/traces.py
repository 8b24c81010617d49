"""``agenttrace traces``: the newest traces as a table, or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenttrace_server.cli.asking import QueryCommand, asked, question_options
from agenttrace_server.cli.options import client_options
from agenttrace_server.cli.text import count, dollars, duration

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_HEADINGS = ("start", "trace", "name", "service", "duration", "spans", "errors", "tokens", "cost")
_RIGHT = ("duration", "spans", "errors", "tokens", "cost")
_NARROW = 110
"""Below so many columns, what is left out: the year, the seconds, most of the id and the service."""


@click.command("traces", cls=QueryCommand)
@client_options
@question_options(None)
@click.option(
    "--sort", metavar="ORDER", help="start, duration, cost or tokens, the greatest first; with :asc, the least."
)
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the API gives them.")
def traces_command(
    config: Path | None,
    data: Path | None,
    api: str | None,
    query: tuple[str, ...],
    since: str | None,
    until: str | None,
    sort: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List traces, the newest first.

    QUERY says which, as in: 'model:gpt-4o* status:error duration>2s "refund"'. --since and --until are about
    their start.
    """
    from agenttrace_server.cli import terminal
    from agenttrace_server.cli.client import Client, Server

    question = asked(query, since, until)
    with Client(Server.find(api, data=data, config=config)) as client:
        ordered: dict[str, Any] = question | ({"sort": sort} if sort else {})
        found = list(client.pages("/api/v1/traces", limit=limit, **ordered))
    if as_json:
        for item in found:
            click.echo(json.dumps(item))
    elif found:
        screen = terminal.console()
        screen.print(trace_table(found, screen.width))
    elif question:
        click.echo("No traces like that.")
    else:
        click.echo("No traces yet. Send some: `agenttrace demo`, or point an OpenTelemetry exporter at the server.")


def trace_table(items: Iterable[dict[str, Any]], width: int) -> Table:
    """Return traces, as the API lists them, as a table of one line each on a terminal of ``width`` columns."""
    from agenttrace_server.cli import terminal

    narrow = width < _NARROW
    table = terminal.table(*(name for name in _HEADINGS if not narrow or name != "service"), right=_RIGHT)
    for item in items:
        table.add_row(*_row(item, narrow=narrow))
    return table


def _row(item: dict[str, Any], *, narrow: bool) -> list[Text]:
    from agenttrace_server.cli.terminal import cell

    tokens = (item.get("input_tokens") or 0) + (item.get("output_tokens") or 0)
    name = item.get("name") or "(no name)"
    start, trace_id = when(item.get("start_ns")), item["trace_id"]
    row = [
        cell(start[5:16] if narrow else start),
        cell(trace_id[:12] if narrow else trace_id, "cyan"),
        cell(name if item.get("has_root", True) else f"{name} (no root yet)", limit=80),
        *([] if narrow else [cell(item.get("service") or "", limit=40)]),
        cell(duration(_length(item))),
        cell(count(item.get("spans"))),
        cell(count(item.get("errors")), "bold red"),
        cell(count(tokens)),
        cell(dollars(item.get("cost_usd")) if tokens else ""),
    ]
    for text in row:
        text.no_wrap = True
    return row


def when(start_ns: int | None) -> str:
    """Return a moment in this machine's time zone, to the second; ``"-"`` if it is not known or absurd."""
    if start_ns is None:
        return "-"
    try:
        return datetime.fromtimestamp(start_ns / 1e9, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{start_ns} ns"


def _length(item: dict[str, Any]) -> int | None:
    if item.get("duration_ns") is not None:
        return int(item["duration_ns"])
    start, end = item.get("start_ns"), item.get("end_ns")
    return None if start is None or end is None else end - start
