"""``agenttrace import FILE…``: sends files of OTLP/JSON lines, and waits until what they hold can be read."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

import click

from agenttrace_core.errors import InvalidInputError, PayloadTooLargeError
from agenttrace_server.cli.batches import BadLine, Batch, batches
from agenttrace_server.cli.options import client_options

if TYPE_CHECKING:
    from agenttrace_server.cli.client import Client, Sent

_REQUEST_BYTES = 4 * 2**20
_AT_ONCE = 4
_WAIT_READABLE_S = 30.0


@dataclass(slots=True)
class Tally:
    """What an import has done so far. Shared by the sending threads."""

    lines: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)
    receipts: deque[str] = field(default_factory=lambda: deque(maxlen=256))
    _lock: Lock = field(default_factory=Lock)

    def sent(self, batch: Batch, answer: Sent) -> None:
        """Count an acknowledged request."""
        with self._lock:
            self.accepted += batch.spans - answer.rejected
            # Of a request that was refused whole, there is nothing to wait for.
            if answer.receipt and answer.rejected < batch.spans:
                self.receipts.append(answer.receipt)
        if answer.rejected:
            self.refuse(answer.reason or "no reason was given", answer.rejected, batch.place)

    def refuse(self, reason: str, spans: int, place: str) -> None:
        """Count what was refused; the first place of each reason is kept."""
        with self._lock:
            self.refused[reason] += spans
            self.places.setdefault(reason, place)


@click.command("import")
@client_options
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@click.option("--no-wait", is_flag=True, help="Do not wait until all of it can be read.")
def import_command(
    config: Path | None, data: Path | None, api: str | None, files: tuple[str, ...], no_wait: bool
) -> int:
    """Send traces from files of OTLP/JSON lines: plain, gzip or zstd; - is standard input.

    A file named *.pb is one ExportTraceServiceRequest as protobuf. Exits with 1 if anything was
    refused, and says what and why.
    """
    from agenttrace_server.cli.client import Client, Server

    tally = Tally()
    with Client(Server.find(api, data=data, config=config)) as client:
        # A server that is not there is told at once; one that goes away later is waited for.
        client.reach()
        started = time.monotonic()
        _send_all(client, files, tally)
        readable = no_wait or not tally.receipts or _wait_readable(client, tally)
    _summarise(tally, time.monotonic() - started, readable)
    return 0 if not tally.refused and readable else 1


def _send_all(client: Client, files: tuple[str, ...], tally: Tally) -> None:
    """Read in this thread and send in a few others, with a bounded number of requests in memory."""
    room = BoundedSemaphore(2 * _AT_ONCE)
    sending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for work in _work(client, files, tally):
                room.acquire()
                task = pool.submit(work)
                task.add_done_callback(lambda _: room.release())
                sending.append(task)
                while sending and sending[0].done():
                    sending.popleft().result()
            for task in sending:
                task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _work(client: Client, files: tuple[str, ...], tally: Tally) -> Iterator[Callable[[], None]]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from agenttrace_server.cli.lines import opened
    from agenttrace_server.cli.terminal import console
    from agenttrace_server.cli.text import plain

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        for name in files:
            size = None if name == "-" else Path(name).stat().st_size
            task = progress.add_task(plain(Path(name).name or name, 40), total=size)
            with opened(name) as (raw, stream):
                if name.endswith(".pb"):
                    body = stream.read()
                    yield lambda body=body, name=name: _send_protobuf(client, name, body, tally)  # type: ignore[misc]
                    continue
                for item in batches(name, stream, _REQUEST_BYTES):
                    progress.update(task, completed=raw.count)
                    if isinstance(item, BadLine):
                        tally.refuse(item.reason, 0, item.place)
                        continue
                    yield lambda batch=item: send(client, batch, tally)  # type: ignore[misc]
                progress.update(task, completed=size or raw.count)


def send(client: Client, batch: Batch, tally: Tally) -> None:
    """Send a batch. One that is too long, or refused as a whole, is halved until the fault is alone."""
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        try:
            tally.sent(part, client.send(part.body))
        except InvalidInputError as error:
            halves = part.halves()
            if halves is None:
                longer = f"a span of {len(part.body):,} bytes: " if isinstance(error, PayloadTooLargeError) else ""
                tally.refuse(f"{longer}{error}", part.spans, part.place)
            else:
                waiting += reversed(halves)


def _send_protobuf(client: Client, name: str, body: bytes, tally: Tally) -> None:
    try:
        answer = client.send(body, "application/x-protobuf")
    except InvalidInputError as error:
        tally.refuse(str(error), 0, name)
        return
    tally.sent(Batch(name, 1, 1), answer)


def _wait_readable(client: Client, tally: Tally) -> bool:
    give_up = time.monotonic() + _WAIT_READABLE_S
    for receipt in tally.receipts:
        while not client.get(f"/api/v1/receipts/{receipt}").get("readable"):
            if time.monotonic() > give_up:
                return False
            time.sleep(0.05)
    return True


def _summarise(tally: Tally, seconds: float, readable: bool) -> None:
    from agenttrace_server.cli import terminal

    screen = terminal.console()
    state = "readable now" if readable else f"acknowledged; not all readable after {_WAIT_READABLE_S:.0f} s"
    screen.print(f"{tally.accepted:,} spans sent in {seconds:.1f} s{f', {state}' if tally.accepted else ''}.")
    if not tally.refused:
        return
    table = terminal.table("refused spans", "first at", "why", right=("refused spans",))
    for reason, spans in tally.refused.most_common():
        table.add_row(f"{spans:,}" if spans else "?", terminal.cell(tally.places[reason]), terminal.cell(reason))
    screen.print(table)
