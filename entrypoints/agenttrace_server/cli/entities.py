"""``agenttrace sessions``, ``users``, ``agents``, ``tools``, ``models``, ``prompts``: each with its figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from agenttrace_server.cli.asking import QueryCommand, asked, question_options
from agenttrace_server.cli.options import client_options

if TYPE_CHECKING:
    from rich.table import Table

    from agenttrace_server.cli.client import Client

_KINDS = ("sessions", "users", "agents", "tools", "models", "prompts")
_NARROW = 110


def _command(kind: str) -> Callable[..., Any]:
    one = kind.removesuffix("s")

    def run(
        config: Path | None,
        data: Path | None,
        api: str | None,
        query: tuple[str, ...],
        since: str | None,
        until: str | None,
        entity_id: str | None,
        sort: str | None,
        limit: int,
        as_json: bool,
    ) -> None:
        from agenttrace_server.cli.client import Client, Server

        question = asked(query, since, until)
        with Client(Server.find(api, data=data, config=config)) as client:
            path = f"/api/v1/{kind}"
            if entity_id is not None:
                found = client.get(f"{path}/{quote(entity_id, safe='')}", limit=limit, **question)
                click.echo(json.dumps(found)) if as_json else _show_one(found)
                return
            ordered: dict[str, Any] = question | ({"sort": sort} if sort else {})
            items = list(client.pages(path, limit=limit, **ordered))
        if as_json:
            for item in items:
                click.echo(json.dumps(item))
        elif items:
            _show(items, one)
        else:
            click.echo(f"No {kind}.")

    run.__doc__ = f"""List {kind} with their figures, or show one of them and its traces.

    QUERY is a query that selects spans, as in: agent:planner status:error.
    """
    run = question_options(None)(run)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the API gives them."),
        click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="At most so many."),
        click.option("--sort", metavar="FIGURE", help="Such as cost_usd, errors, last_ns; with :asc, the least first."),
        click.option("--id", "entity_id", metavar="ID", help=f"Show this {one}, and its traces."),
    ):
        run = option(run)
    return click.command(kind, cls=QueryCommand)(client_options(run))


def show_error_kinds(client: Client, question: dict[str, Any], *, limit: int, as_json: bool) -> None:
    """Print the kinds of errors among the spans that a question selects."""
    items = list(client.pages("/api/v1/errors", limit=limit, **question))
    if as_json:
        for item in items:
            click.echo(json.dumps(item))
    elif items:
        _print(_errors(items))
    else:
        click.echo("No span has failed.")


def _show(items: Sequence[dict[str, Any]], one: str) -> None:
    from agenttrace_server.cli import terminal

    screen = terminal.console()
    screen.print(entity_table(items, one, narrow=screen.width < _NARROW))


def _show_one(found: dict[str, Any]) -> None:
    from agenttrace_server.cli import terminal
    from agenttrace_server.cli.traces import trace_table

    screen = terminal.console()
    screen.print(entity_table([found["item"]], "id", narrow=screen.width < _NARROW))
    screen.print()
    screen.print(trace_table(found["traces"], screen.width))
    if found["next_cursor"]:
        click.echo("… and older traces: --limit shows more", err=True)


def entity_table(items: Sequence[dict[str, Any]], one: str, *, narrow: bool) -> Table:
    """Lay out sessions, models and the like; where there is little room, names are cut and figures are not."""
    from agenttrace_server.cli.terminal import cell, table
    from agenttrace_server.cli.text import amount, dollars, duration
    from agenttrace_server.cli.traces import when

    has_times = not narrow and "p95_ns" in items[0]
    right = ("last", "traces", "spans", "errors", "tokens", "cost", "p50", "p95")
    made = table(one, *(heading for heading in right if has_times or heading not in {"p50", "p95"}), right=right)
    for item in items:
        last = when(item["last_ns"])
        row = [
            cell(item["id"], "cyan", 200),
            cell(last[5:16] if narrow else last),
            *(cell(amount(item[name])) for name in ("traces", "spans")),
            cell(amount(item["errors"]), "bold red"),
            cell(amount(item["input_tokens"] + item["output_tokens"])),
            cell(dollars(item["cost_usd"]) + ("+?" if item["unpriced"] else "")),
        ]
        if has_times:
            row += [cell("" if item[n] is None else duration(int(item[n]))) for n in ("p50_ns", "p95_ns")]
        for text in row:
            text.no_wrap = True
        made.add_row(*row)
    return made


def _errors(items: Sequence[dict[str, Any]]) -> Table:
    from agenttrace_server.cli.terminal import cell, table
    from agenttrace_server.cli.text import amount
    from agenttrace_server.cli.traces import when

    made = table("count", "traces", "last", "trace", "error", right=("count", "traces"))
    for item in items:
        what = ": ".join(part for part in (item["type"], item["message"]) if part) or "(says nothing)"
        text = cell(f"{what}  in {item['name']}", limit=500)
        last = when(item["last_ns"])[5:16]
        made.add_row(cell(amount(item["count"]), "bold red"), cell(amount(item["traces"])), cell(last),
                     cell(item["trace_id"][:12], "cyan"), text)  # fmt: skip
    return made


def _print(made: Table) -> None:
    from agenttrace_server.cli import terminal

    terminal.console().print(made)


sessions_command, users_command, agents_command, tools_command, models_command, prompts_command = map(_command, _KINDS)
