"""``agenttrace export``: traces as OTLP/JSON lines, one ``ExportTraceServiceRequest`` each."""

from __future__ import annotations

import gzip
import sys
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import click

from agenttrace_server.cli.options import client_options

if TYPE_CHECKING:
    from agenttrace_server.cli.client import Client

_AT_ONCE = 4
_ALL = sys.maxsize


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
    with Client(Server.find(api, data=data, config=config)) as client, _opened(output) as stream:
        for line in _lines(client, limit or _ALL):
            stream.write(line + b"\n")
            written += 1
    click.echo(f"{written:,} traces written{f' to {output}' if output else ''}.", err=True)


def _lines(client: Client, limit: int) -> Iterator[bytes]:
    """Fetch a few traces ahead, and give them in the order of the list."""
    fetching: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for item in client.pages("/api/v1/traces", limit=limit):
                fetching.append(pool.submit(client.get_bytes, f"/api/v1/traces/{item['trace_id']}", format="otlp"))
                if len(fetching) > 2 * _AT_ONCE:
                    yield _one_line(fetching.popleft().result())
            while fetching:
                yield _one_line(fetching.popleft().result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_line(body: bytes) -> bytes:
    # JSON may only break lines between tokens: text keeps its newlines escaped.
    return body.strip().replace(b"\n", b" ")


@contextmanager
def _opened(output: Path | None) -> Generator[IO[bytes]]:
    if output is None:
        yield sys.stdout.buffer
        return
    # Beside its place until it is whole: an export cut short must not look like one.
    partial = output.with_name(f"{output.name}.partial")
    try:
        with _compressed(partial, output.suffix) as stream:
            yield stream
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
