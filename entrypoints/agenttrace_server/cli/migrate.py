"""``agenttrace migrate``: what one deployment holds, to another of whatever backends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenttrace_core.errors import AgentTraceError

if TYPE_CHECKING:
    from rich.progress import Progress

_PLACE = click.Path(path_type=Path, exists=True)


@click.command("migrate")
@click.option("--from", "source", required=True, type=_PLACE, metavar="CONFIG", help="Settings of what is moved.")
@click.option("--to", "target", required=True, type=_PLACE, metavar="CONFIG", help="Settings of where it goes.")
def migrate_command(source: Path, target: Path) -> None:
    """Move all that one deployment holds to another, which is empty: an embedded folder to Kafka, S3 and PostgreSQL,
    or back, or any mixture.

    CONFIG is a configuration file, or a data folder of which nothing is configured. Neither deployment may be
    running; what waits in the source's queue is written into its files first. The source stays as it is.

    It may be killed and run again at any point. In the end all is read back and compared; the target starts only
    when nothing differs.
    """
    import anyio

    from agenttrace_server.cli import terminal
    from agenttrace_server.composition_migrate import run_migrate, settings_of

    with _bar(terminal.console(stderr=True)) as bar:
        checked = anyio.run(run_migrate, settings_of(source), settings_of(target), _Told(bar))
    if not checked:
        click.echo("this was completed before: nothing is left to be done")
        return
    table = terminal.table("", "source", "target", "")
    for check in checked:
        table.add_row(check.what, f"{check.source:,}", f"{check.target:,}", "" if check.is_same else "differs")
    terminal.console().print(table)
    if not all(check.is_same for check in checked):
        raise AgentTraceError("source and target differ, and the target will not start: run this again")
    click.echo("all is there: start the target now, and have senders send to it")


class _Told:
    """Shows each step as a bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: Any = None

    def begin(self, step: str, total_bytes: int) -> None:
        """End the step before, and show the next."""
        if self._task is not None:
            self._bar.update(self._task, total=self._bar.tasks[-1].completed)
        self._task = self._bar.add_task(step, total=total_bytes or None)

    def advance(self, size: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, size)


def _bar(console: Any) -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)
