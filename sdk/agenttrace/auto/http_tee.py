"""The body of an answer of httpx, looked at while the program reads it, and not otherwise.

Whatever the program makes of the answer (chunks, lines, bytes, a parsed object, nothing at all), the bytes pass through
here once. When the body ends, fails, is closed or forgotten, somebody is told.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import httpx

from agenttrace.quiet import never_raises

_MOST_BYTES: Final = 8 << 20


class Heard:
    """What was read of a body. ``on_done`` is called once, with this, when nothing more will be.

    ``first_ns`` is when the first bytes came (``time.time_ns``), None if none have; ``error`` is what ended it;
    ``is_stream`` says that it is one of events.
    """

    def __init__(self, response: httpx.Response, on_done: Callable[[Heard], None]) -> None:
        self.first_ns: int | None = None
        self.error: BaseException | None = None
        self.is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        self._coding = response.headers.get("content-encoding", "").strip().lower()
        self._pieces: list[bytes] = []
        self._size = 0
        self._on_done: Callable[[Heard], None] | None = on_done

    def add(self, data: bytes) -> None:
        """Note bytes as they pass."""
        if self.first_ns is None:
            self.first_ns = time.time_ns()
        if self._size < _MOST_BYTES:
            self._pieces.append(data)
            self._size += len(data)

    def finish(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes. Never raises."""
        told, self._on_done = self._on_done, None
        if told is not None:
            self.error = error
            never_raises(told)(self)

    def values(self) -> list[dict[str, Any]]:
        """Return the JSON objects in what was heard: of each event, if it is a stream of events, else of the whole."""
        text = self._decoded().decode("utf-8", "replace")
        lines = [line[5:].strip() for line in text.split("\n") if line.startswith("data:")]
        found = (_object(item) for item in (lines if self.is_stream else [text]))
        return [value for value in found if value is not None]

    def _decoded(self) -> bytes:
        """The body as httpx decodes it for the program: which encodings there are depends on what is installed."""
        headers = {"content-encoding": self._coding} if self._coding else {}
        response = httpx.Response(200, headers=headers, stream=_Again(self._pieces))
        decoded, size = [], 0
        with contextlib.suppress(httpx.DecodingError):  # of a body that was let go of, what there is
            for piece in response.iter_bytes():
                decoded.append(piece)
                size += len(piece)
                if size > _MOST_BYTES:
                    break
        return b"".join(decoded)


def listen(response: httpx.Response, on_done: Callable[[Heard], None]) -> None:
    """Have ``on_done`` called when the body of ``response``, which nobody has read yet, has been read or let go."""
    heard = Heard(response, on_done)
    stream = response.stream
    if isinstance(stream, httpx.SyncByteStream):
        response.stream = _Tee(stream, heard)
    else:
        response.stream = _AsyncTee(stream, heard)


class _Again(httpx.SyncByteStream):
    """Pieces of a body that have been read before."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


class _Tee(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, heard: Heard) -> None:
        self._stream = stream
        self._heard = heard

    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._stream:
                self._heard.add(data)
                yield data
        except GeneratorExit:
            self._heard.finish()
            raise
        except BaseException as error:
            self._heard.finish(error)
            raise
        self._heard.finish()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._heard.finish()

    def __del__(self) -> None:
        self._heard.finish()


class _AsyncTee(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, heard: Heard) -> None:
        self._stream = stream
        self._heard = heard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._stream:
                self._heard.add(data)
                yield data
        except GeneratorExit:
            self._heard.finish()
            raise
        except BaseException as error:
            self._heard.finish(error)
            raise
        self._heard.finish()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._heard.finish()

    def __del__(self) -> None:
        self._heard.finish()


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
