"""Files of OTLP/JSON lines: plain, gzip or zstd with a long window, told apart by their first bytes."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LONGEST_WINDOW = 2**27
"""What ``zstd --long=27`` writes. The decoder holds one window in memory, so it is bounded."""


class Counted(io.RawIOBase):
    """A stream that knows how many bytes have been read through it, for a progress bar."""

    def __init__(self, inner: IO[bytes]) -> None:
        """Wrap ``inner``, which stays the caller's to close."""
        self._inner = inner
        self.count = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to the length of ``buffer`` into it, and return how many bytes came."""
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


@contextmanager
def opened(name: str) -> Generator[tuple[Counted, IO[bytes]]]:
    """Open a file, or standard input for ``-``: the counted raw stream, and the decompressed one."""
    source = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115 - closed below
    try:
        raw = Counted(source)
        yield raw, decompressed(raw)
    finally:
        if name != "-":
            source.close()


def decompressed(raw: Counted) -> IO[bytes]:
    """Return a buffered reader of what is in ``raw``, by its first bytes."""
    peekable = io.BufferedReader(raw, 2**18)
    magic = peekable.peek(4)[:4]
    if magic.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=peekable))
    if magic == _ZSTD:
        reader = zstandard.ZstdDecompressor(max_window_size=_LONGEST_WINDOW).stream_reader(
            peekable, read_across_frames=True
        )
        return io.BufferedReader(cast("io.RawIOBase", reader), 2**18)
    return peekable
