"""``agenttrace config``: what is in force, and where each value came from."""

from __future__ import annotations

from pathlib import Path

import click

from agenttrace_core.registry import without_password
from agenttrace_server.cli.options import config_option, data_option, resolve_server
from agenttrace_server.settings import Settings


@click.command("config")
@config_option
@data_option
@click.option("--describe", is_flag=True, help="Also say what each setting means, and its variable.")
def config_command(config: Path | None, data: Path | None, describe: bool) -> None:
    """Show the settings in force, and where each came from. Secrets are never shown."""
    from agenttrace_server.cli import terminal
    from agenttrace_server.settings_sources import known_keys, variable_of

    resolved = resolve_server(config=config, data=data)
    table = terminal.table("setting", "value", "from", *(("variable", "meaning") if describe else ()))
    for key, field in known_keys():
        row = [key, _shown(key, resolved.settings), resolved.origins.get(key, "default")]
        more = [variable_of(key), field.description or ""] if describe else []
        table.add_row(*(terminal.cell(text) for text in (*row, *more)))
    terminal.console().print(table)


def _shown(key: str, settings: Settings) -> str:
    from agenttrace_server.settings_units import format_duration, format_size

    value: object = settings
    for part in key.split("."):
        value = getattr(value, part)
    if key == "auth.keys":
        return ", ".join(f"{k.project}:{k.sha256[:8]}…" for k in settings.auth.keys) or "none"
    if key.endswith("_bytes") and isinstance(value, int):
        return format_size(value)
    if isinstance(value, float):  # all of them are durations
        return format_duration(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return without_password(str(value))
