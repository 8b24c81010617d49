"""``agenttrace score TRACE NAME VALUE``: gives a trace, or a span of it, a score."""

from __future__ import annotations

from pathlib import Path

import click

from agenttrace_server.cli.options import client_options

_WORDS = {"true": True, "yes": True, "false": False, "no": False}


@click.command("score", context_settings={"ignore_unknown_options": True})  # a value may be negative
@client_options
@click.argument("trace_id", metavar="TRACE")
@click.argument("name")
@click.argument("value")
@click.option("--span", "span_id", metavar="ID", help="Of this span of the trace; else it is the trace's.")
@click.option("--label", help="A word beside the value.")
@click.option("--explanation", help="Why.")
@click.option("--source", help="Who judges.  [default: api]")
@click.option("--id", "score_id", help="Replaces what was given with it before.")
def score_command(
    config: Path | None,
    data: Path | None,
    api: str | None,
    trace_id: str,
    name: str,
    value: str,
    span_id: str | None,
    label: str | None,
    explanation: str | None,
    source: str | None,
    score_id: str | None,
) -> None:
    """Give a trace a score. VALUE is a number, true or false; anything else is a label."""
    from agenttrace_server.cli.client import Client, Server

    number = _value(value)
    given = {
        "trace_id": trace_id, "span_id": span_id, "name": name, "value": number,
        "label": value if number is None else label, "explanation": explanation, "source": source, "id": score_id,
    }  # fmt: skip
    with Client(Server.find(api, data=data, config=config)) as client:
        client.post("/api/v1/scores", {key: item for key, item in given.items() if item is not None})
    click.echo(f"{name} = {value}, of {f'span {span_id} in ' if span_id else ''}trace {trace_id}")


def _value(text: str) -> float | bool | None:
    word = _WORDS.get(text.lower())
    if word is not None:
        return word
    try:
        return float(text)
    except ValueError:
        return None
