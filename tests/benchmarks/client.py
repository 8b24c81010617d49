"""A client that reads traces, cheap enough not to be what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any
from urllib.parse import urlsplit


class Client:
    """One kept-alive connection to the API, opened when it is needed and opened again if it breaks.

    Raises:
        OSError: from every request, if the server cannot be reached.
    """

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._host, self._port, self._netloc = parts.hostname or "127.0.0.1", parts.port or 80, parts.netloc
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of a GET."""
        return await self.request(f"GET {path} HTTP/1.1\r\nHost: {self._netloc}\r\n\r\n".encode())

    async def post(self, path: str, body: bytes, content_type: str = "application/x-protobuf") -> tuple[int, bytes]:
        """Return the status and the body of a POST."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._netloc}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return await self.request(head.encode() + body)

    async def timed_get(self, path: str) -> tuple[float, int, bytes]:
        """Return the milliseconds from sending to the last byte, the status and the body of a GET."""
        begun = time.perf_counter()
        status, body = await self.get(path)
        return (time.perf_counter() - begun) * 1e3, status, body

    async def succeeds(self, path: str) -> bool:
        """Say whether a GET is answered with 200; no answer is a no."""
        with contextlib.suppress(OSError):
            return (await self.get(path))[0] == 200
        return False

    async def json(self, path: str) -> Any:
        """Return the JSON that a GET answers with, or None if the status is not 200."""
        status, body = await self.get(path)
        return json.loads(body) if status == 200 else None

    async def request(self, data: bytes) -> tuple[int, bytes]:
        """Send a whole request and return the status and the body of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=2**20)
        reader, writer = self._streams
        try:
            writer.write(data)
            await writer.drain()
            return await self._answer(reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.aclose()
            raise ConnectionError(f"{self._netloc} broke the connection") from error

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.lower().partition(b":")[::2] for line in head.split(b"\r\n")[1:])
        if headers.get(b"transfer-encoding", b"").strip() == b"chunked":
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        return int(head[9:12]), body

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while length := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(length))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)
