"""The table of settings in the documentation, made from the program: ``python -m tests.unit.docs.settings_table``."""

from __future__ import annotations

from pathlib import Path

from agenttrace_server.cli import config
from agenttrace_server.settings import Settings
from agenttrace_server.settings_sources import known_keys, variable_of

HEAD = "| key | variable | default | |\n|---|---|---|---|"


def settings_table() -> str:
    """Return the table in Markdown, a row a setting."""
    settings = Settings(data=Path("DIR"))
    folder = str(Path("DIR").absolute())
    rows: list[str] = []
    for key, field in known_keys():
        default = config._shown(key, settings).replace(folder, "DIR")
        rows.append(f"| `{key}` | `{variable_of(key)}` | {default} | {field.description} |")
    return "\n".join([HEAD, *rows]).replace("| DIR | the data folder |", "| agenttrace-data | the data folder, `DIR` |")


if __name__ == "__main__":
    print(settings_table())
