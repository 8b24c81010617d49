"""A proxy in front of PostgreSQL that cuts connections at their COMMIT, before or after the server hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""As a simple query (https://www.postgresql.org/docs/current/protocol-message-formats.html)."""


class CommitCutter:
    """Passes everything on, but for the next ``len(cuts)`` COMMITs of transactions in which ``after`` was said.

    Its client must keep no prepared statements (``statement_cache_size=0``), whose text is said only once.

    ``before``: the server never hears of it, and finds its client gone. ``after``: it hears of it, and the
    client of no answer. ``late``: as ``after``, but only ``late_s`` seconds after the client was cut off.
    ``none``: this one is passed on.
    """

    def __init__(self, url: str, late_s: float, after: bytes = b"") -> None:
        self._server = urlsplit(url)
        self._after = after
        self._late_s = late_s
        self._serving: set[asyncio.Task[None]] = set()
        self.cuts: list[str] = []
        self.url = url

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[CommitCutter]:
        """Listen for the length of a block; ``url`` is where."""
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with listening, self._ended():
            port = listening.sockets[0].getsockname()[1]
            user, at, _ = self._server.netloc.rpartition("@")
            self.url = urlunsplit(self._server._replace(netloc=f"{user}{at}127.0.0.1:{port}"))
            yield self

    @asynccontextmanager
    async def _ended(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        server_reader, server_writer = await asyncio.open_connection(self._server.hostname, self._server.port)
        answers = asyncio.create_task(_pass_on(server_reader, writer))
        try:
            # Its streams would complain of a cancelled task.
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._ask(reader, server_writer, writer, answers)
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            writer.transport.abort()
            server_writer.transport.abort()
            self._serving.discard(task)

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        was_said = False
        while data := await reader.read(1 << 16):
            was_said = was_said or self._after in data
            cut = self.cuts.pop(0) if data.endswith(_COMMIT) and was_said and self.cuts else None
            was_said = was_said and not data.endswith(_COMMIT)
            if cut in (None, "none"):
                server.write(data)
                await server.drain()
                continue
            answers.cancel()
            client.transport.abort()
            if cut == "late":
                await asyncio.sleep(self._late_s)
            if cut != "before":
                server.write(data)
                await server.drain()
                await asyncio.sleep(0.3)  # it has it before it finds its client gone
            return


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
