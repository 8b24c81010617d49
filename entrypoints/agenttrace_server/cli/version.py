"""``agenttrace version``."""

from __future__ import annotations

import click

from agenttrace_core import __version__


@click.command("version")
def version_command() -> None:
    """Print the release."""
    click.echo(f"agenttrace {__version__}")
