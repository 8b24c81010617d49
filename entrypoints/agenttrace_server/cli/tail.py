"""``agenttrace tail``: traces as they arrive, until interrupted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from agenttrace_server.cli.options import client_options

_PAGE = 100
_REMEMBERED = 10_000


@click.command("tail")
@client_options
@click.option("--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between looks.")
def tail_command(config: Path | None, data: Path | None, api: str | None, interval: float) -> None:
    """Show traces as they arrive, until Ctrl-C. A trace is shown once it has not grown between two looks."""
    from agenttrace_server.cli.client import Client, Server

    with Client(Server.find(api, data=data, config=config)) as client:
        shown = {item["trace_id"]: None for item in client.pages("/api/v1/traces", limit=_PAGE)}
        growing: dict[str, int] = {}
        click.echo("Waiting for traces; Ctrl-C ends it.", err=True)
        while True:
            time.sleep(interval)
            fresh = [item for item in client.pages("/api/v1/traces", limit=_PAGE) if item["trace_id"] not in shown]
            for item in reversed(fresh):
                if growing.get(item["trace_id"]) == item.get("spans"):
                    _show(item)
                    shown[item["trace_id"]] = None
            growing = {item["trace_id"]: item.get("spans", 0) for item in fresh}
            while len(shown) > _REMEMBERED:
                shown.pop(next(iter(shown)))


def _show(item: dict[str, Any]) -> None:
    from agenttrace_server.cli import terminal
    from agenttrace_server.cli.traces import trace_table

    screen = terminal.console()
    table = trace_table([item], screen.width)
    table.show_header = False
    screen.print(table)
