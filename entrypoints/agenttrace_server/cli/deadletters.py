"""``agenttrace dead-letters``: what was refused, to look at, send again or drop."""

from __future__ import annotations

import json
from pathlib import Path

import click

from agenttrace_server.cli.options import client_options

_PATH = "/api/v1/dead-letters"


@click.group("dead-letters")
def dead_letters_command() -> None:
    """List, replay or drop what was refused."""


@dead_letters_command.command("list")
@client_options
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the API gives them.")
def list_command(config: Path | None, data: Path | None, api: str | None, limit: int, as_json: bool) -> None:
    """List the newest refusals, and why."""
    from agenttrace_server.cli import terminal
    from agenttrace_server.cli.client import Client, Server
    from agenttrace_server.cli.traces import when

    with Client(Server.find(api, data=data, config=config)) as client:
        letters = list(client.pages(_PATH, limit=limit))
    if as_json:
        for letter in letters:
            click.echo(json.dumps(letter))
        return
    if not letters:
        click.echo("Nothing was refused.")
        return
    table = terminal.table("received", "id", "signal", "spans", "why", right=("spans",))
    for letter in letters:
        table.add_row(
            terminal.cell(when(letter.get("received_ns"))),
            terminal.cell(letter["id"], "cyan"),
            terminal.cell(letter.get("signal", "")),
            terminal.cell(letter.get("spans") or "?"),
            terminal.cell(letter.get("reason", "")),
        )
    terminal.console().print(table)


@dead_letters_command.command("replay")
@client_options
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
def replay_command(config: Path | None, data: Path | None, api: str | None, ids: tuple[str, ...]) -> None:
    """Send refusals again, as they were received. What is accepted now is dropped from the list."""
    from agenttrace_server.cli.client import Client, Server
    from agenttrace_server.cli.text import plain

    with Client(Server.find(api, data=data, config=config)) as client:
        for letter_id in ids:
            answer = client.post(f"{_PATH}/{letter_id}/replay")
            click.echo(f"{plain(letter_id)}: sent again{_outcome(answer)}")


@dead_letters_command.command("drop")
@client_options
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
def drop_command(config: Path | None, data: Path | None, api: str | None, ids: tuple[str, ...]) -> None:
    """Forget refusals for good."""
    from agenttrace_server.cli.client import Client, Server
    from agenttrace_server.cli.text import plain

    with Client(Server.find(api, data=data, config=config)) as client:
        for letter_id in ids:
            client.delete(f"{_PATH}/{letter_id}")
            click.echo(f"{plain(letter_id)}: dropped")


def _outcome(answer: object) -> str:
    accepted = answer.get("accepted") if isinstance(answer, dict) else None
    return "" if accepted is None else f", {accepted} accepted"
