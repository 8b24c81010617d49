"""A proxy in front of an S3 server that fails on command, and counts what is asked.

It speaks HTTP/1.1 on a thread of its own, so that a test may drive it from wherever it runs, and forwards
requests as they are: their signatures stay valid, for the server checks the name that the client used.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from tests.servers.s3 import S3Place

_PIECE = 1 << 16
_LONGEST_HEAD = 1 << 20
METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
_NO_BODY = {204, 304}
_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass(frozen=True)
class Asked:
    """A request that came, whatever was answered: ``path`` without its query, decoded; ``range`` as it was asked."""

    method: str
    path: str
    query: str
    range: str = ""
    status: int = 0
    """What the server answered; 503 where the proxy did instead; 0 where nobody did."""


@dataclass
class _Faults:
    error_share: float = 0.0
    error_status: int = 503
    failing_methods: frozenset[str] = frozenset()
    lost_answers: int = 0
    lost_methods: frozenset[str] = frozenset()
    cut_bodies: int = 0
    delay_s: float = 0.0
    is_cut_off: bool = False
    due: float = field(default=0.0)
    """How much of a request that is to fail has come together."""


class FaultProxy:
    """Stands before one server. Without a fault it changes nothing.

    Faults are set from any thread, hold for requests that come later, and add up. ``heal`` ends all.
    """

    def __init__(self, place: S3Place) -> None:
        self._upstream = place
        self._faults = _Faults()
        self._lock = threading.Lock()
        self._asked: list[Asked] = []
        self._loop = asyncio.new_event_loop()
        self._clients: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self.place = place

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LONGEST_HEAD)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.place = replace(self._upstream, endpoint=f"http://127.0.0.1:{port}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # --- Faults -----------------------------------------------------------------------------------

    def fail(self, share: float, *, status: int = 503, methods: Iterable[str] = METHODS) -> None:
        """Answer a share of requests with a status, without asking the server: evenly, 1/3 is each third one."""
        self._faults.failing_methods = frozenset(methods)
        self._faults.error_share, self._faults.error_status = share, status

    def lose_answers(self, count: int, methods: Iterable[str] = ("PUT", "POST")) -> None:
        """Reset the connections of the next ``count`` requests of some methods once the server has done them."""
        self._faults.lost_methods, self._faults.lost_answers = frozenset(methods), count

    def cut_bodies(self, count: int) -> None:
        """Reset the connections of the next ``count`` answers to GET half-way through their bodies."""
        self._faults.cut_bodies = count

    def slow(self, seconds: float) -> None:
        """Wait so long before each request is passed on."""
        self._faults.delay_s = seconds

    def cut_off(self) -> None:
        """Reset all connections, and new ones as they come."""
        self._faults.is_cut_off = True
        asyncio.run_coroutine_threadsafe(self._reset_all(), self._loop).result(10)

    def heal(self) -> None:
        """Fail no more."""
        self._faults = _Faults()

    # --- What was asked ---------------------------------------------------------------------------

    @property
    def asked(self) -> list[Asked]:
        """All requests since the last ``forget``, in the order in which they were done with."""
        with self._lock:
            return list(self._asked)

    @property
    def counts(self) -> Counter[str]:
        """How many of each method."""
        return Counter(asked.method for asked in self.asked)

    def forget(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._asked.clear()

    # --- The proxy itself -------------------------------------------------------------------------

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _reset_all(self) -> None:
        for client in list(self._clients):
            _reset(client)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            if self._faults.is_cut_off:
                return
            upstream = urlsplit(self._upstream.endpoint)
            server = await asyncio.open_connection(upstream.hostname, upstream.port, limit=_LONGEST_HEAD)
            while await self._pass_on(reader, writer, *server):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._clients.discard(writer)
            _reset(writer)
            if server is not None:
                _reset(server[1])

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> bool:
        """Do one request. False if the connection is to be reset, or is closed."""
        head = Head(await reader.readuntil(b"\r\n\r\n"))
        # Looked at once the request is here: a connection may lie idle from before the last fault or healing.
        faults = self._faults
        method, target, _ = head.first
        path, _, query = target.partition("?")
        asked = Asked(method, unquote(path), query, head.fields.get("range", ""))
        instead = self._instead(asked, head)
        if "expect" in head.fields:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(faults.delay_s)
        if method in faults.failing_methods and self._is_to_fail(faults):
            await _pump(reader, None, head)
            self._note(asked, faults.error_status)
            body = b"" if method == "HEAD" else _BUSY
            writer.write(
                b"HTTP/1.1 %d Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
                % (faults.error_status, len(body), body)
            )
            await writer.drain()
            return True
        if instead is not None:
            await _pump(reader, None, head)
            self._note(asked, int(instead.split(b" ", 2)[1]))
            writer.write(instead)
            await writer.drain()
            return True
        to_server.write(head.without("expect"))
        await _pump(reader, to_server, head)
        answer = Head(await server.readuntil(b"\r\n\r\n"))
        status = int(answer.first[1])
        has_body = method != "HEAD" and status not in _NO_BODY
        if faults.lost_answers and method in faults.lost_methods:
            faults.lost_answers -= 1
            if has_body:
                await _pump(server, None, answer)
            self._note(asked, 0)
            return False
        writer.write(self._amended(asked, head, answer))
        if faults.cut_bodies and method == "GET" and status in (200, 206):
            faults.cut_bodies -= 1
            writer.write(await server.readexactly(answer.length // 2))
            await writer.drain()
            self._note(asked, 0)
            return False
        # Counted before the client has all of it, so that a test that has its answer finds its request counted.
        self._note(asked, status)
        if has_body:
            await _pump(server, writer, answer)
        await writer.drain()
        if answer.fields.get("connection", "").lower() == "close":
            # Not by a reset, which takes away what the client has not read yet.
            writer.close()
            await writer.wait_closed()
            return False
        return True

    def _instead(self, asked: Asked, head: Head) -> bytes | None:
        """Return what is answered in place of the server, if anything is."""
        return None

    def _amended(self, asked: Asked, head: Head, answer: Head) -> bytes:
        """Return the head of an answer as it is passed on."""
        return answer.raw

    def _note(self, asked: Asked, status: int) -> None:
        with self._lock:
            self._asked.append(replace(asked, status=status))

    @staticmethod
    def _is_to_fail(faults: _Faults) -> bool:
        faults.due += faults.error_share
        if faults.due < 1 - 1e-9:
            return False
        faults.due -= 1
        return True


class Head:
    """The first line and the fields of a request or an answer."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0].split(" ", 2)
        self.fields = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])}

    @property
    def length(self) -> int:
        return int(self.fields.get("content-length", "0"))

    def without(self, name: str) -> bytes:
        lines = self.raw.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.lower().startswith(name.encode() + b":"))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter | None, head: Head) -> None:
    """Carry a body over, or read it and let it go."""
    if head.fields.get("transfer-encoding", "").lower() == "chunked":
        while True:
            line = await source.readuntil(b"\r\n")
            chunk = await source.readexactly(int(line.split(b";")[0], 16) + 2)
            await _give(sink, line + chunk)
            if len(chunk) == 2:
                return
    left = head.length
    while left:
        piece = await source.read(min(left, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(piece, left)
        left -= len(piece)
        await _give(sink, piece)


async def _give(sink: asyncio.StreamWriter | None, piece: bytes) -> None:
    if sink is not None:
        sink.write(piece)
        await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a server that dies does."""
    with suppress(OSError):
        plain: socket.socket | None = writer.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
