"""Reads durable records out of a partition's segment files, also while they grow and are trimmed."""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from itertools import pairwise
from threading import Lock

from agenttrace_adapters.locallog.folder import Partition
from agenttrace_adapters.locallog.published import Durable, PublishedEnd
from agenttrace_adapters.locallog.record import SegmentView, read_fully
from agenttrace_core.errors import CorruptionError
from agenttrace_core.ports.queue import Position, Record

_log = logging.getLogger(__name__)
_COPY_BYTES = 1 << 26
_COPIES = 16


class PartitionReader:
    """Reads one partition. Safe to use from several threads."""

    def __init__(self, partition: Partition, *, seed: int) -> None:
        self.partition = partition
        self._seed = seed
        self._published = PublishedEnd.open(partition.end_path, writable=False)
        self._durable = Durable(0, 0)
        self._bases: list[int] = []
        self._lock = Lock()
        self._closed = False

    def durable(self) -> Durable:
        """Return what the appender published last. Reads memory only."""
        self._durable = self._published.load() or self._durable
        return self._durable

    def begin(self) -> int:
        """Return the least offset that is still kept."""
        bases = self.partition.bases()
        return bases[0] if bases else self.durable().end

    def read(self, offset: int, max_bytes: int) -> list[Record]:
        """Return whole records of one segment file from ``offset`` on, at least one if there is one.

        Raises:
            CorruptionError: the record at ``offset`` is damaged.
            OSError: the files could not be read.
        """
        with self._lock:
            if self._closed:
                return []
            durable = self.durable()
            while offset < durable.end:
                base, limit = self._segment_of(offset, durable)
                try:
                    fd = os.open(self.partition.segment(base), os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    self._bases = []  # trimmed since it was listed
                    continue
                try:
                    view = SegmentView(fd, base=base, limit=limit, seed=self._seed)
                    return self._collect(view, fd, max(offset, base), base, max_bytes)
                finally:
                    os.close(fd)
            return []

    def trim(self, offset: int) -> None:
        """Delete the segment files that lie wholly below ``offset``; the newest always stays.

        Raises:
            OSError: a file could not be deleted.
        """
        bases = self.partition.bases()
        for base, following in pairwise(bases):
            if following > offset:
                break
            self.partition.segment(base).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmap the published end. Waits for a read that is under way; a later one returns nothing."""
        with self._lock:
            self._closed = True
            self._published.close()

    def _segment_of(self, offset: int, durable: Durable) -> tuple[int, int]:
        """Return the first offset of the file in which to look for ``offset``, and that at which it ends."""
        if not self._bases or self._bases[-1] < durable.base:
            self._bases = self.partition.bases()
        if not self._bases:
            raise CorruptionError(
                f"{self.partition.path} has no segment files, and {durable.end} bytes were acknowledged",
                skip_to=durable.end,
            )
        following = max(1, bisect_right(self._bases, offset))
        limits = [*self._bases[following : following + 1], durable.end]
        return self._bases[following - 1], min(limits)

    def _collect(self, view: SegmentView, fd: int, offset: int, base: int, max_bytes: int) -> list[Record]:
        records: list[Record] = []
        for frame in view.frames(offset):
            max_bytes -= len(frame.body)
            if max_bytes < 0 and records:
                return records
            position = Position(self.partition.number, frame.position, frame.end)
            records.append(Record(position, frame.headers, frame.body))
            if max_bytes <= 0:
                return records
        if not records:
            raise self._damage(view, fd, offset, base)
        return records

    def _damage(self, view: SegmentView, fd: int, offset: int, base: int) -> CorruptionError:
        frame = view.frame(offset)
        skip_to = frame.end if frame else view.next_head(offset + 1) or view.limit
        kept = self._keep_copy(fd, offset, skip_to, base)
        message = (
            f"partition {self.partition.number} of the log is damaged from offset {offset} to {skip_to} "
            f"({self.partition.segment(base)}); {kept}"
        )
        _log.error("%s", message)
        return CorruptionError(message, skip_to=skip_to)

    def _keep_copy(self, fd: int, offset: int, skip_to: int, base: int) -> str:
        """Copy damaged bytes to where trimming leaves them, as far as there is room, and say where."""
        folder = self.partition.path / "damaged"
        path = folder / f"{offset}-{skip_to}.bin"
        try:
            folder.mkdir(exist_ok=True)
            if len(list(folder.iterdir())) >= _COPIES:
                return "not copied, because there are many copies already"
            path.write_bytes(read_fully(fd, min(_COPY_BYTES, skip_to - offset), offset - base))
        except OSError as error:
            return f"not copied: {error}"
        return f"copied to {path}"
