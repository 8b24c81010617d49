"""Which requests get some ranges of an object: few, none too long, and side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_GAP_BYTES = 64 << 10
"""What lies between two ranges is got with them, if it is no more: another request would take longer."""


def requests_for(ranges: Sequence[tuple[int, int]], most_bytes: int) -> list[tuple[int, int]]:
    """Return ``(offset, length)`` of requests that cover ``ranges``, ascending, each of at most ``most_bytes``."""
    return [cut for span in _joined(ranges) for cut in cuts(*span, most_bytes)]


def cuts(offset: int, length: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut a range into ranges of at most ``most_bytes``."""
    for at in range(offset, offset + length, most_bytes):
        yield at, min(most_bytes, offset + length - at)


def piece(got: Mapping[int, bytes], offset: int, length: int) -> bytes:
    """Put a range together out of what requests brought, by the offset of each, ascending."""
    found: list[bytes] = []
    for at, body in got.items():
        first, stop = max(offset - at, 0), min(offset + length - at, len(body))
        if first < stop:
            found.append(body if stop - first == len(body) else body[first:stop])
    return found[0] if len(found) == 1 else b"".join(found)


def _joined(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin = end = 0
    for offset, length in sorted(r for r in ranges if r[1]):
        if end and offset <= end + _GAP_BYTES:
            end = max(end, offset + length)
            continue
        if end:
            yield begin, end - begin
        begin, end = offset, offset + length
    if end:
        yield begin, end - begin
