"""``agenttrace normalise``: runs the rules of now over spans that older rules made columns of."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenttrace_core.errors import InvalidInputError
from agenttrace_server.cli.options import config_option, data_option, resolve_server

if TYPE_CHECKING:
    from agenttrace_core.services.normalise import Progress


@click.command("normalise")
@config_option
@data_option
@click.option(
    "--since", required=True, metavar="TIME", help="Spans that start then or later: an age such as 7d, or a time."
)
@click.option("--until", metavar="TIME", help="Only files with spans that start before.")
@click.option("--project", metavar="NAME", help="Only files with spans of this project.")
def normalise_command(
    config: Path | None, data: Path | None, since: str, until: str | None, project: str | None
) -> None:
    """Run the newest rules over what is stored: raw attributes are kept, so that what they mean can be read anew.

    A server may run on and be asked meanwhile; what this is killed in the middle of is as it was before.
    """
    import anyio
    from rich.progress import Progress as Bar

    from agenttrace_core.normalise.rules import VERSION
    from agenttrace_core.services.normalise import Wanted
    from agenttrace_server.cli.terminal import console
    from agenttrace_server.composition_normalise import run_normalise

    settings = resolve_server(config=config, data=data).settings
    wanted = Wanted(_instant("--since", since), None if until is None else _instant("--until", until), project)
    with Bar(console=console(), transient=True) as bar:
        task = bar.add_task("normalise", total=None)

        def tell(progress: Progress) -> None:
            bar.update(task, completed=progress.rows, total=progress.of_rows)

        done = anyio.run(run_normalise, settings, wanted, tell)
    click.echo(
        f"{done.rows:,} spans in {done.files:,} files are by rules of version {VERSION} now"
        + (f"; {done.skipped:,} files were merged or changed meanwhile: run it again" if done.skipped else "")
    )


def _instant(name: str, text: str) -> int:
    from agenttrace_core.query.times import parse_time
    from agenttrace_server.cli.asking import moment

    found = parse_time(moment(text, time.time_ns()) or "")
    if found is None:
        raise InvalidInputError(f"{name}: {text[:80]!r} is neither an age such as 7d nor a time as in RFC 3339")
    return found
