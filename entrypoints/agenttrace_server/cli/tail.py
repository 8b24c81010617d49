"""``agenttrace tail``: spans as they arrive, until interrupted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenttrace_core.errors import UnavailableError
from agenttrace_server.cli.asking import QueryCommand
from agenttrace_server.cli.options import client_options

if TYPE_CHECKING:
    from rich.text import Text

    from agenttrace_server.cli.client import Client

_RECONNECT_S = 1.0
_NARROW = 110


@click.command("tail", cls=QueryCommand)
@client_options
@click.argument("query", nargs=-1, metavar="[QUERY]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the API gives them.")
def tail_command(
    config: Path | None, data: Path | None, api: str | None, query: tuple[str, ...], as_json: bool
) -> None:
    """Show spans as they arrive, until Ctrl-C.

    QUERY is a query about spans, as in: status:error or agent:planner duration>2s. A span that is still running
    is shown with … in place of its duration, and again when it has ended.
    """
    from agenttrace_server.cli import terminal
    from agenttrace_server.cli.client import Client, Server

    screen = terminal.console()
    # Nothing is to be waited for but the next span; the server says every 15 seconds that it is still there.
    with Client(Server.find(api, data=data, config=config)) as client:
        client.reach()
        click.echo("Waiting for spans; Ctrl-C ends it.", err=True)
        for event, data_of in _events(client, " ".join(query)):
            if event == "skipped":
                click.echo("agenttrace: too much arrives to show all of it; some spans were left out", err=True)
            elif as_json:
                click.echo(json.dumps(json.loads(data_of)))  # in ASCII, as nothing that a terminal would obey
            else:
                line = _line(json.loads(data_of), narrow=screen.width < _NARROW)
                screen.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def _events(client: Client, query: str) -> Iterator[tuple[str, str]]:
    """Iterate over events and their data. A connection that is lost is opened anew, and goes on where it was."""
    last_id = ""
    while True:
        asked = {"q": query, **({"after": last_id} if last_id else {})}
        event, data = "", ""
        try:
            for raw in client.lines("/api/v1/live", **asked):
                name, _, value = raw.decode("utf-8", "replace").partition(": ")
                if not name and data:
                    yield event, data
                    event, data = "", ""
                last_id = value if name == "id" else last_id
                event = value if name == "event" else event
                data = value if name == "data" else data
        except UnavailableError:
            if not last_id:
                raise
        time.sleep(_RECONNECT_S)


def _line(span: dict[str, Any], *, narrow: bool) -> Text:
    from rich.text import Text

    from agenttrace_server.cli.text import amount, dollars, duration, plain
    from agenttrace_server.cli.traces import when

    failed = span["status"] == "error"
    running = bool({"running", "no_end"} & set(span["quality"]))
    took = "…" if running else duration(span["duration_ns"])
    tokens = (span["input_tokens"] or 0) + (span["output_tokens"] or 0)
    start = when(span["start_ns"])
    line = Text().append(start[11:19] if narrow else start, style="dim").append(" ")
    line.append(f"{plain(span['trace_id'])[: 8 if narrow else 12]} ", style="cyan")
    line.append(f"{took:>9} ")
    line.append(f"{plain(span['name'], 80)}{' ✗' if failed else ''}", style="bold red" if failed else "bold")
    facts = [span["agent"], None if narrow else span["service"], span["model"], span["tool"]]
    told = [plain(fact, 40) for fact in facts if fact and fact not in span["name"]]
    told += [f"{amount(tokens)} tokens"] if tokens else []
    told += [dollars(span["cost_usd"])] if span["cost_usd"] else []
    line.append(f"  {' · '.join(told)}" if told else "", style="dim")
    if failed and span["status_message"]:
        line.append(f"  {plain(span['status_message'], 200)}", style="red")
    return line
