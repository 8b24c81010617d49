"""uvicorn's HTTP/1.1 protocol, hardened: it bounds what it holds of a client, and for how long.

uvicorn alone waits for ever for a request's head, keeps heads and trailers of any length, and
drops the answer to a client that closed its sending side.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_MAX_HEAD_BYTES = 64 << 10
_HEAD_TOO_LARGE = (
    b'{"error": {"kind": "head_too_large", "message": "the address and headers of a request may have 64 KiB together"}}'
)
# Chunked encoding of one byte a chunk takes six on the wire.
_OVERHEAD_FACTOR = 16
_MAX_OVERHEAD_BYTES = 1 << 20


def hardened(
    *, connection_timeout_s: float, max_connections: int, half_closed_s: float | None = None
) -> type[asyncio.Protocol]:
    """Return the protocol class to give to ``uvicorn.Config(http=…)``.

    Args:
        connection_timeout_s: seconds within which a connection must have sent a whole request.
        max_connections: connections above this number are told to come again, and closed.
        half_closed_s: seconds after which a client that has closed its sending side counts as gone; None is never.
            One that has left altogether looks the same, and nobody should work for it any longer.
    """
    bounds = {
        "_connection_timeout_s": connection_timeout_s, "_max_connections": max_connections,
        "_half_closed_s": half_closed_s,
    }  # fmt: skip
    return cast("type[asyncio.Protocol]", type("HardenedProtocol", (_HardenedProtocol,), bounds))


class _HardenedProtocol(HttpToolsProtocol):
    _connection_timeout_s = 45.0
    _max_connections = 4096
    _half_closed_s: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = False
        self._fed = 0
        self._body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            self._refuse(b"503 Service Unavailable", b"retry-after: 2\r\n")
            return
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_is_whole()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # what asyncio.Protocol says of it
        """Keep a connection open for the answer, if its request is whole."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.more_body or cycle.response_complete:
            return False
        cycle.keep_alive = False
        if self._half_closed_s is not None:
            self.loop.call_later(self._half_closed_s, self._give_up, cycle)
        return True

    def _give_up(self, cycle: RequestResponseCycle) -> None:
        if not cycle.response_complete:
            self.transport.abort()  # uvicorn tells whoever answers

    def data_received(self, data: bytes) -> None:
        self._fed += len(data)
        super().data_received(data)
        if self._deadline is None or self.transport.is_closing():
            return
        if self._in_head and self._fed > _MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._fed > _MAX_OVERHEAD_BYTES + _OVERHEAD_FACTOR * self._body:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._fed = 0
        self._body = 0
        self._expect_request()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._request_is_whole()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say why a request cannot be read: an address that is too long is none to the parser."""
        if len(self.url) > _MAX_HEAD_BYTES - 1024:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self._refuse(b"431 Request Header Fields Too Large", b"content-type: application/json\r\n", _HEAD_TOO_LARGE)

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._connection_timeout_s, self.transport.close)

    def _request_is_whole(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: bytes, headers: bytes = b"", body: bytes = b"") -> None:
        length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + headers + length + body)
        self.transport.close()
