"""``agenttrace key new PROJECT``: makes a key, prints it once, and keeps nothing of it."""

from __future__ import annotations

import click


@click.group("key")
def key_command() -> None:
    """Make keys for callers."""


@key_command.command("new")
@click.argument("project")
def new_command(project: str) -> None:
    """Make a key for PROJECT and print it, and what to put into agenttrace.toml."""
    from agenttrace_server.auth import new_key

    key, digest = new_key(project)
    click.echo(key)
    click.echo(
        "\nThat is the key; it is shown this once. Senders and readers use it as"
        "\n  export AGENTTRACE_API_KEY=<the key>          (this command line, the SDK)"
        '\n  export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer <the key>"   (any OpenTelemetry exporter)'
        "\n\nPut this into agenttrace.toml and start the server again:\n",
        err=True,
    )
    click.echo(f'[[auth.keys]]\nproject = "{project}"\nsha256 = "{digest}"', err=True)
