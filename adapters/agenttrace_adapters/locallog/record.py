"""How a record looks on disk, and how records are found in a segment file.

A record is a head of 36 bytes, the project, the signal, and the body; all integers little-endian::

    magic 4s | signal bytes u8 | reserved u8 | project bytes u16 | body bytes u32 |
    received_ns i64 | hash of body u64 | hash of all the above, project and signal u64

Hashes are XXH3-64. The head's is seeded with the log's id and the record's offset, so that
neither stale bytes nor a record quoted inside a body is ever taken for a record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.ports.queue import Headers, Signal

MAGIC = b"ATL1"
_HEAD = struct.Struct("<4sBBHIqQ")
_HASH = struct.Struct("<Q")
HEAD_BYTES = _HEAD.size + _HASH.size
_WINDOW = 1 << 16
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole record found in a segment. ``position`` and ``end`` are log offsets."""

    position: int
    end: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Damaged:
    """A record whose head is whole and whose body does not match its hash. ``end`` is where the next one begins."""

    end: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record that is known to be storable, and waits for its offset. ``size`` is what it takes on disk."""

    project: bytes
    signal: bytes
    received_ns: int
    body: bytes

    @classmethod
    def of(cls, headers: Headers, body: bytes) -> Outgoing:
        """Check a record before it joins a group, so that one that cannot be stored spoils no other.

        Raises:
            InvalidInputError: a header is out of bounds.
        """
        project, signal = headers.project.encode(errors="surrogatepass"), headers.signal.encode()
        if len(project) > 0xFFFF:
            raise InvalidInputError(f"the project's name has {len(project)} bytes; the log takes at most 65535")
        if not -(1 << 63) <= headers.received_ns < 1 << 63:
            raise InvalidInputError(f"received_ns = {headers.received_ns} is not a time in 64 bits")
        return cls(project, signal, headers.received_ns, body)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return HEAD_BYTES + len(self.project) + len(self.signal) + len(self.body)

    def head(self, *, offset: int, seed: int) -> bytes:
        """Return everything that goes before the body."""
        fixed = _HEAD.pack(
            MAGIC, len(self.signal), 0, len(self.project), len(self.body), self.received_ns,
            xxh3_64_intdigest(self.body),
        )  # fmt: skip
        names = self.project + self.signal
        return fixed + _HASH.pack(xxh3_64_intdigest(fixed + names, seed + offset)) + names


class SegmentView:
    """Reads frames out of one open segment file, in pieces, with no more than one copy of a large body.

    ``base`` is the log offset of the file's first byte; nothing at or above offset ``limit`` is read.
    """

    def __init__(self, fd: int, *, base: int, limit: int, seed: int) -> None:
        self._fd, self._base, self.limit, self._seed = fd, base, limit, seed
        self._window, self._window_at = b"", base

    def frame(self, offset: int) -> Frame | Damaged | None:
        """Return what is at ``offset``, or None if no whole head is there.

        Raises:
            OSError: the file could not be read.
        """
        head = self._bytes(offset, HEAD_BYTES)
        if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
            return None
        _, signal_bytes, _, project_bytes, body_bytes, received_ns, body_hash = _HEAD.unpack_from(head)
        body_at = offset + HEAD_BYTES + project_bytes + signal_bytes
        names = self._bytes(offset + HEAD_BYTES, project_bytes + signal_bytes)
        (head_hash,) = _HASH.unpack_from(head, _HEAD.size)
        if body_at + body_bytes > self.limit or head_hash != self._head_hash(head, names, offset):
            return None
        body = self._bytes(body_at, body_bytes)
        if len(body) < body_bytes or xxh3_64_intdigest(body) != body_hash:
            return Damaged(body_at + body_bytes)
        project = names[:project_bytes].decode(errors="surrogatepass")
        headers = Headers(project, Signal(names[project_bytes:].decode()), received_ns)
        return Frame(offset, body_at + body_bytes, headers, body)

    def frames(self, offset: int) -> Iterator[Frame]:
        """Iterate over whole frames from ``offset`` on, up to the limit or the first that is not whole."""
        while isinstance(frame := self.frame(offset), Frame):
            yield frame
            offset = frame.end

    def next_head(self, offset: int) -> int | None:
        """Return the least offset from ``offset`` on where a whole head is, or None."""
        for at in self._magics(offset):
            if self.frame(at) is not None:
                return at
        return None

    def next_whole(self, offset: int) -> int | None:
        """Return the least offset from ``offset`` on where a whole record is, or None."""
        for at in self._magics(offset):
            if isinstance(self.frame(at), Frame):
                return at
        return None

    def blank(self, offset: int) -> bool:
        """Whether there is nothing but zeros from ``offset`` to the limit."""
        return all(piece == _ZEROS[: len(piece)] for piece in self._pieces(offset))

    def _head_hash(self, head: bytes, names: bytes, offset: int) -> int:
        return xxh3_64_intdigest(head[: _HEAD.size] + names, self._seed + offset)

    def _bytes(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; small ones are cut from a window, large ones read directly."""
        length = max(0, min(length, self.limit - offset))
        if length >= _WINDOW:
            return read_fully(self._fd, length, offset - self._base)
        start = offset - self._window_at
        if start < 0 or start + length > len(self._window):
            wanted = min(_WINDOW, self.limit - offset)
            self._window, self._window_at, start = read_fully(self._fd, wanted, offset - self._base), offset, 0
        return self._window[start : start + length]

    def _magics(self, offset: int) -> Iterator[int]:
        carried = b""
        for piece in self._pieces(offset):
            searched, begin = carried + piece, offset - len(carried)
            at = searched.find(MAGIC)
            while at >= 0:
                yield begin + at
                at = searched.find(MAGIC, at + 1)
            carried, offset = searched[1 - len(MAGIC) :], begin + len(searched)

    def _pieces(self, offset: int) -> Iterator[bytes]:
        while piece := read_fully(self._fd, min(len(_ZEROS), self.limit - offset), offset - self._base):
            yield piece
            offset += len(piece)


def read_fully(fd: int, length: int, position: int) -> bytes:
    """Read ``length`` bytes at a file position; fewer only where the file ends.

    Raises:
        OSError: the file could not be read.
    """
    if length <= 0:
        return b""
    piece = os.pread(fd, length, position)
    if len(piece) == length or not piece:
        return piece
    return piece + read_fully(fd, length - len(piece), position + len(piece))
