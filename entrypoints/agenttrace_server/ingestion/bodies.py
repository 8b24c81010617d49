"""Reads a request's body within bounds of size, of time, and of what the process holds in all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agenttrace_core.errors import AgentTraceError, InvalidInputError, PayloadTooLargeError
from agenttrace_core.services.admission import Admission
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.decompress import decompress

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_INLINE_COMPRESSED_BYTES = 16 << 10
_LINGER_S = 5.0
_LINGER_BYTES = 256 << 20


class BodyTimeoutError(AgentTraceError):
    """The client sent its body too slowly."""

    kind = "body_timeout"


class ClientGoneError(AgentTraceError):
    """The client closed the connection before its request was whole. Nobody is there to be told."""

    kind = "client_gone"


class BodyReader:
    """Reads and decompresses bodies.

    Args:
        config: the bounds of one body.
        admission: the account of what the process holds.
    """

    def __init__(self, config: DoorConfig, admission: Admission) -> None:
        self._config = config
        self._admission = admission
        # Each thread may hold a whole decompressed body, and the cores are few.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="decompress")

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, receive: Receive, declared: int | None, encoding: str) -> bytes:
        """Return the body, decompressed.

        Args:
            receive: the ASGI callable.
            declared: the number in the ``Content-Length`` header, if there is one.
            encoding: the ``Content-Encoding`` header, in lower case, or empty.

        Raises:
            PayloadTooLargeError: it is too long, as sent or decompressed.
            InvalidInputError: it is damaged.
            BodyTimeoutError: it came too slowly.
            ClientGoneError: it ended early.
            OverloadedError: the process holds too many bodies.
        """
        limit = self._config.max_body_bytes
        if declared is not None and declared > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self._config.body_timeout_s):
                body = await self._receive_all(receive, limit)
        except TimeoutError as error:
            raise BodyTimeoutError(f"the body did not arrive within {self._config.body_timeout_s:g} s") from error
        return await self._decompress(body, encoding)

    async def _receive_all(self, receive: Receive, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError("the client closed the connection before its request was whole")
                chunk: bytes = message["body"]
                if size + len(chunk) > limit:
                    raise _too_large(limit)
                self._admission.hold(len(chunk))
                size += len(chunk)
                chunks.append(chunk)
                if not message["more_body"]:
                    return b"".join(chunks)
        finally:
            self._admission.release(size)

    async def _decompress(self, body: bytes, encoding: str) -> bytes:
        limit = self._config.max_decompressed_bytes
        if encoding in {"", "identity"}:
            if len(body) > limit:
                raise _too_large(limit)
            return body
        if len(body) <= _INLINE_COMPRESSED_BYTES:
            return decompress(encoding, body, limit)
        with self._admission.holding(len(body)):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, decompress, encoding, body, limit)


async def linger(receive: Receive) -> None:
    """Read on for a while after an answer, and throw away.

    A client that is still sending when its connection is closed loses the answer (RFC 9112,
    section 9.6), and would send the same again.
    """
    discarded = 0
    try:
        async with asyncio.timeout(_LINGER_S):
            while discarded < _LINGER_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect" or not message["more_body"]:
                    return
                discarded += len(message["body"])
    except TimeoutError:
        return


def content_length(value: bytes | None) -> int | None:
    """Return a ``Content-Length`` header's number.

    Raises:
        InvalidInputError: it is not one.
    """
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise InvalidInputError("content-length must be a number of bytes")
    return int(value)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the body exceeds {limit} bytes; send fewer spans in a request")
