"""``agenttrace traces``: the newest traces as a table, or as JSON lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenttrace_server.cli.options import client_options
from agenttrace_server.cli.text import count, duration

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("start", "trace", "name", "service", "duration", "spans", "errors", "tokens")
RIGHT = ("duration", "spans", "errors", "tokens")


@click.command("traces")
@client_options
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the API gives them.")
def traces_command(config: Path | None, data: Path | None, api: str | None, limit: int, as_json: bool) -> None:
    """List the newest traces."""
    from agenttrace_server.cli import terminal
    from agenttrace_server.cli.client import Client, Server

    with Client(Server.find(api, data=data, config=config)) as client:
        found = list(client.pages("/api/v1/traces", limit=limit))
    if as_json:
        for item in found:
            click.echo(json.dumps(item))
        return
    if not found:
        click.echo("No traces yet. Send some: `agenttrace demo`, or point an OpenTelemetry exporter at the server.")
        return
    table = terminal.table(*HEADINGS, right=RIGHT)
    for item in found:
        add_row(table, item)
    terminal.console().print(table)


def add_row(table: Table, item: dict[str, Any]) -> None:
    """Add a trace, as the API lists it, to a table with ``HEADINGS``."""
    from agenttrace_server.cli.terminal import cell

    tokens = (item.get("input_tokens") or 0) + (item.get("output_tokens") or 0)
    name = item.get("name") or "(no name)"
    table.add_row(
        cell(when(item.get("start_ns"))),
        cell(item["trace_id"], "cyan"),
        cell(name if item.get("has_root", True) else f"{name} (no root yet)", limit=80),
        cell(item.get("service") or "", limit=40),
        cell(duration(_length(item))),
        cell(count(item.get("spans"))),
        cell(count(item.get("errors")), "bold red"),
        cell(count(tokens)),
    )


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
