"""``agenttrace export``: traces as OTLP/JSON lines, one ``ExportTraceServiceRequest`` each."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, cast

import click

from agenttrace_server.cli.options import client_options


@click.command("export")
@client_options
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Where to write (.gz and .zst compress); standard output if not given.",
)  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(1), help="At most so many traces; all if not given.")
def export_command(
    config: Path | None, data: Path | None, api: str | None, output: Path | None, limit: int | None
) -> None:
    """Write traces as OTLP/JSON lines, newest first: every span, attribute, event and link as it was sent."""
    from agenttrace_server.cli.client import Client, Server

    written = 0
    with Client(Server.find(api, data=data, config=config)) as client, _opened(output) as write:
        for line in islice(client.lines("/api/v1/export"), limit):
            write(line)
            written += 1
    click.echo(f"{written:,} traces written{f' to {output}' if output else ''}.", err=True)


@contextmanager
def _opened(output: Path | None) -> Generator[Callable[[bytes], object]]:
    """Return what writes a line."""
    from agenttrace_server.cli.terminal import write_json

    if output is None:
        yield write_json
        return
    # Beside its place until it is whole: an export cut short must not look like one.
    partial = output.with_name(f"{output.name}.partial")
    try:
        with _compressed(partial, output.suffix) as stream:
            yield lambda line: stream.write(line + b"\n")
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _compressed(path: Path, suffix: str) -> IO[bytes]:
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "wb"))
    if suffix in (".zst", ".zstd"):
        import zstandard

        return cast("IO[bytes]", zstandard.open(path, "wb"))
    return path.open("wb")
