"""``agenttrace doctor``: what is wrong with this machine or folder, and what to do about it."""

from __future__ import annotations

from typing import Any

import click

from agenttrace_server.cli.options import resolve_server, server_options

_STYLES = {"good": "green", "note": "yellow", "wrong": "bold red"}


@click.command("doctor")
@server_options
def doctor_command(**options: Any) -> int:
    """Check this machine and the data folder, and say what to mend. Exits with 1 if something is wrong."""
    from agenttrace_server.cli.terminal import cell, console
    from agenttrace_server.doctor import examine
    from agenttrace_server.findings import Verdict

    settings = resolve_server(**options).settings
    screen = console()
    wrong = 0
    for finding in examine(settings):
        wrong += finding.verdict is Verdict.WRONG
        line = cell(f"{finding.verdict:<6}", _STYLES[finding.verdict]).append(f"{finding.what:<12} ", "bold")
        screen.print(line.append_text(cell(finding.found)))
        if finding.advice:
            screen.print(cell(f"{'':<18} → {finding.advice}", "yellow"))
    screen.print(f"\n{wrong} wrong." if wrong else "\nAll is well.")
    return 1 if wrong else 0
