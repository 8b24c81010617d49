"""``agenttrace explain TRACE SPAN``: why each canonical field of a span holds what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from agenttrace_server.cli.options import client_options
from agenttrace_server.cli.text import plain


@click.command("explain")
@client_options
@click.argument("trace_id", metavar="TRACE")
@click.argument("span_id", metavar="SPAN")
@click.option("--all", "with_empty", is_flag=True, help="Also fields that nothing gave a value.")
@click.option("--json", "as_json", is_flag=True, help="The API's answer as JSON instead.")
def explain_command(
    config: Path | None,
    data: Path | None,
    api: str | None,
    trace_id: str,
    span_id: str,
    with_empty: bool,
    as_json: bool,
) -> None:
    """Tell which rule, of which version, gave each field of a span its value, and from which attributes."""
    from agenttrace_server.cli.client import Client, Server

    with Client(Server.find(api, data=data, config=config)) as client:
        found = client.get(f"/api/v1/traces/{trace_id}/spans/{span_id}/explain")
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in (found, *found["others"]):
        _print(one, with_empty=with_empty)


def _print(one: dict[str, Any], *, with_empty: bool) -> None:
    from rich.table import Table

    from agenttrace_server.cli.terminal import console

    screen = console()
    screen.print(plain(one["name"] or "(no name)"), style="bold")
    screen.print(plain(f"{one['span_id']}  rules of version {one['version']}"), style="dim")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("field", "value", "from", "rule"):
        table.add_column(title, overflow="fold")
    for reason in one["fields"]:
        if reason["rule"] is not None or with_empty:
            table.add_row(*_row(reason))
    screen.print(table)


def _row(reason: dict[str, Any]) -> tuple[str, str, str, str]:
    value = reason["value"]
    shown = "-" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
    if "stored" in reason:
        shown += f" (stored, by other rules: {reason['stored']})"
    note = f" ({reason['note']})" if reason["note"] else ""
    return (
        reason["field"],
        plain(shown if len(shown) <= 120 else f"{shown[:119]}…"),
        plain(", ".join(reason["attributes"]) + note),
        plain(reason["rule"] or "-"),
    )
