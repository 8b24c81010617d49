"""``agenttrace usage``, ``latency``, ``errors``, ``cost``: figures as a table with small charts, or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenttrace_server.cli.asking import QueryCommand, age_ns, asked, bucket_for, question_options, timezone_here
from agenttrace_server.cli.options import client_options

if TYPE_CHECKING:
    from agenttrace_server.cli.client import Client

_ABOUT = {
    "usage": "Show spans, tokens and traces, by time or by anything that spans say.",
    "latency": "Show exact percentiles of duration, by time or by anything that spans say.",
    "errors": "Show how many spans failed, by time or by anything that spans say; with --kinds, in which ways.",
    "cost": "Show what it cost, by time or by anything that spans say.",
}


def _command(kind: str) -> Callable[..., Any]:
    def run(
        config: Path | None,
        data: Path | None,
        api: str | None,
        query: tuple[str, ...],
        since: str | None,
        until: str | None,
        by: str,
        bucket: str | None,
        top: int,
        tz: str | None,
        as_json: bool,
        compare: bool,
        kinds: bool = False,
    ) -> None:
        from agenttrace_server.cli.client import Client, Server

        question = asked(query, since, until)
        with Client(Server.find(api, data=data, config=config)) as client:
            if kinds:
                from agenttrace_server.cli.entities import show_error_kinds

                show_error_kinds(client, question, limit=top, as_json=as_json)
                return
            by_time = {"bucket": bucket or bucket_for(since), "tz": tz or timezone_here()}
            grouped = {"group_by": by, "top": top} if by else {}
            compared = {"compare": "previous"} if compare else {}
            path = f"/api/v1/analytics/{kind}"
            if as_json:
                asked_for = {**question, **grouped, **compared, **(by_time if bucket or not by else {})}
                for row in client.get(path, **asked_for)["rows"]:
                    click.echo(json.dumps(row))
                return
            _show(client, kind, path, question, by_time, grouped, compared)

    run.__doc__ = _ABOUT[kind] + (
        "\n\nQUERY is a query, as in: model:gpt-4o* -status:error. Without --by there is a row for each piece of time."
    )
    run = question_options("24h")(run)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a row, as the API gives them."),
        click.option("--tz", metavar="ZONE", help="Time zone whose midnight cuts buckets; else this machine's."),
        click.option("--compare", is_flag=True, help="Also what has changed since the period before."),
        click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Groups at most."),
        click.option("--bucket", metavar="LENGTH", help="Pieces of time: 15m, 1h, 1d, or hour, day, week, month."),
        click.option("--by", metavar="FIELDS", default="", help="Up to three fields, such as model or agent,tool."),
    ):  # fmt: skip
        run = option(run)
    if kind == "errors":
        run = click.option("--kinds", is_flag=True, help="Errors that differ in kind, with their messages.")(run)
    return click.command(kind, cls=QueryCommand)(client_options(run))


def _show(
    client: Client,
    kind: str,
    path: str,
    question: dict[str, Any],
    by_time: dict[str, Any],
    grouped: dict[str, Any],
    compared: dict[str, Any],
) -> None:
    from agenttrace_server.cli import terminal
    from agenttrace_server.cli.figure_table import Figures, figure_table

    total = client.get(path, **question, **compared)["rows"][0]
    screen = terminal.console()
    if not total["spans"]:
        click.echo("No span matches.")
        return
    series = client.get(path, **question, **by_time, **grouped)["rows"]
    if grouped:
        groups = client.get(path, **question, **grouped, **compared)["rows"]
        dimensions = [name for name in groups[0] if name not in total and name != "other"] if groups else []
    else:
        groups, dimensions = series, []
    figures = Figures(
        kind, groups, total, series, tuple(dimensions), by_time["tz"],
        since_ns=_whole(question.get("start")), step_ns=_step(by_time["bucket"]), compare=bool(compared),
    )  # fmt: skip
    screen.print(figure_table(figures, screen.width))


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _step(bucket: str) -> int:
    """Return about how many nanoseconds a bucket is long."""
    return age_ns(bucket) or {"day": 86_400, "week": 604_800, "month": 2_592_000}.get(bucket, 3600) * 10**9


usage_command = _command("usage")
latency_command = _command("latency")
errors_command = _command("errors")
cost_command = _command("cost")
