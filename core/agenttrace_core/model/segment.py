"""Segments: what the catalog knows of the spans that are in files.

A *segment file* is one light, one payload and one traces object with the same rows or their
sums, written once. A *segment* is the run of its rows that belongs to one project and one
window of time. A flush writes one file for all projects and windows that it met, so that many
projects at a trickle do not multiply files; compaction sorts them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID, uuid5

SEGMENT_FORMAT = 2
"""Version of the files' schemas; part of every file id."""

WINDOW_NS = 3_600_000_000_000
"""Length of a window: an hour, in nanoseconds."""


class FileKind(StrEnum):
    """The kinds of file that are kept."""

    SPANS = "spans"
    LOGS = "logs"


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Records ``first <= offset < next`` of one partition."""

    partition: int
    first: int
    next: int


def file_id(queue_id: UUID, ranges: tuple[OffsetRange, ...], kind: FileKind, normaliser: str, attempt: int = 0) -> UUID:
    """Name a flushed file by what went in, so that a replay of the same records names the same file.

    ``attempt`` grows where a file of that name was begun, abandoned and condemned.

    UUIDv5 (RFC 9562, section 5.5) in the namespace of the queue's own id.
    """
    bounds = ",".join(f"{r.partition}:{r.first}-{r.next}" for r in sorted(ranges))
    return uuid5(queue_id, f"{bounds}/{kind}/{SEGMENT_FORMAT}/{normaliser}/{attempt}")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An immutable object: its key, size in bytes, and xxh3-128 checksum in hex."""

    key: str
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of one project and one window in one file.

    ``first_row`` and ``rows`` count rows of the light and payload objects (row *i* of one is row
    *i* of the other); ``first_trace`` and ``traces`` count rows of the traces object. Times are
    nanoseconds since the epoch; ``window`` is the window's first nanosecond. ``raw_bytes`` is the
    length of the spans as they were received.
    """

    project: str
    window: int
    first_row: int
    rows: int
    first_trace: int
    traces: int
    min_start_ns: int
    max_start_ns: int
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A file that was written once and is read until something replaces it.

    ``objects`` maps ``light``, ``payload``, ``traces`` and, of most merged files, ``rollup`` and ``grams`` (kind
    ``spans``), or ``records``, ``traces`` and, where there are any, ``scores`` (kind ``logs``) to where they are; of
    kind ``spans`` also ``flips`` and ``contexts``, where it says something of rows written before.
    ``level`` is 0 for a flush, and one more for each merge.
    """

    id: UUID
    kind: FileKind
    level: int
    normaliser: str
    objects: Mapping[str, StoredObject]
    segments: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        """Rows of all its segments."""
        return sum(s.rows for s in self.segments)

    @property
    def size(self) -> int:
        """Bytes of all its objects."""
        return sum(o.size for o in self.objects.values())


@dataclass(frozen=True, slots=True)
class Superseded:
    """Rows of a live file that a later version of the same span replaced, and what they had added.

    ``rows`` are row numbers of the light object, ascending. ``traces_ipc`` is an Arrow IPC
    stream in the schema of a traces object, one row a trace, holding the *negated* sums of
    those rows, so that sums over trace tables stay exact until compaction drops the rows.
    """

    file_id: UUID
    project: str
    rows: tuple[int, ...]
    traces_ipc: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalog at one moment. Rows of a partition below ``watermarks[p]`` are in ``files``.

    ``version`` grows with every commit. ``files`` holds live files only. The offset of a row is that of its record
    and ``offset_base``; rows below that were moved here, and lie in no partition of this catalog's queue.
    """

    version: int
    watermarks: Mapping[int, int] = field(default_factory=dict)
    files: tuple[SegmentFile, ...] = ()
    superseded: tuple[Superseded, ...] = ()
    offset_base: int = 0
