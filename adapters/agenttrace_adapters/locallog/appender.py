"""Appends to one partition: claims it, writes groups of records, and makes each group durable with one fdatasync."""

from __future__ import annotations

import errno
import itertools
import logging
import os
from collections.abc import Sequence
from typing import Self

from agenttrace_adapters.locallog.folder import LogFolder, Partition, sync_folder, try_lock
from agenttrace_adapters.locallog.published import Durable, PublishedEnd
from agenttrace_adapters.locallog.record import Outgoing
from agenttrace_adapters.locallog.recovery import recover
from agenttrace_core.ports.queue import Position

_log = logging.getLogger(__name__)
_COALESCE_BYTES = 1 << 14
_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EOPNOTSUPP, errno.EINVAL}


class PartitionAppender:
    """The one appender of a partition, for as long as it holds the lock. Not thread-safe.

    The newest segment file is allocated ahead, so that an fdatasync has no size to write. Where a
    write or a sync fails, the file is given up: it ends where it was durable, nothing of the group
    is published, and the next group begins a new file.
    """

    def __init__(
        self, partition: Partition, lock: int, published: PublishedEnd, *, seed: int, segment_bytes: int
    ) -> None:
        self.partition = partition
        self._lock, self._published = lock, published
        self._seed, self._segment_bytes = seed, segment_bytes
        self._end, self._base = 0, 0
        self._fd: int | None = None
        self._failing = False

    @classmethod
    def claim(cls, folder: LogFolder, *, segment_bytes: int) -> Self:
        """Claim the first partition that nobody appends to, a new one if there is none, and repair it.

        Raises:
            OSError: the folder could not be written.
        """
        with folder.claiming():
            for number in itertools.count():
                partition = folder.partition(number)
                partition.path.mkdir(exist_ok=True)
                lock = try_lock(partition)
                if lock is not None:
                    return cls._locked(partition, lock, folder, segment_bytes)
        raise AssertionError("unreachable")

    @classmethod
    def _locked(cls, partition: Partition, lock: int, folder: LogFolder, segment_bytes: int) -> Self:
        try:
            published = PublishedEnd.open(partition.end_path, writable=True)
            appender = cls(partition, lock, published, seed=folder.seed, segment_bytes=segment_bytes)
            appender._resume()
            sync_folder(partition.path)
            sync_folder(folder.path)
        except BaseException:
            os.close(lock)
            raise
        return appender

    def append(self, records: Sequence[Outgoing]) -> list[Position]:
        """Store records, in order, all or none, and return where they are once they are durable.

        Raises:
            OSError: they could not be made durable. The next call starts afresh.
        """
        size = sum(record.size for record in records)
        fd = self._segment_for(size)
        positions, buffers = self._encode(records)
        try:
            _write_fully(fd, buffers, self._end - self._base)
            os.fdatasync(fd)
        except BaseException:
            self._give_up()
            raise
        self._publish(self._end + size)
        self._failing = False
        return positions

    def close(self) -> None:
        """Give back what was allocated ahead, and the right to append."""
        self._seal()
        self._published.close()
        os.close(self._lock)

    def _resume(self) -> None:
        recovered = recover(self.partition, self._published, seed=self._seed)
        self._end, self._base = recovered.durable.end, recovered.durable.base
        if recovered.writable and self._end - self._base < self._segment_bytes:
            self._fd = os.open(self.partition.segment(self._base), os.O_RDWR | os.O_CLOEXEC)
            _allocate(self._fd, self._segment_bytes, used=self._end - self._base)

    def _encode(self, records: Sequence[Outgoing]) -> tuple[list[Position], list[bytes]]:
        """Return positions and the bytes to write; small pieces are joined, large bodies are not copied."""
        positions: list[Position] = []
        buffers: list[bytes] = []
        small: list[bytes] = []
        offset = self._end
        for record in records:
            small.append(record.head(offset=offset, seed=self._seed))
            if len(record.body) < _COALESCE_BYTES:
                small.append(record.body)
            else:
                buffers += (b"".join(small), record.body)
                small = []
            following = offset + record.size
            positions.append(Position(self.partition.number, offset, following))
            offset = following
        return positions, [*buffers, b"".join(small)]

    def _segment_for(self, size: int) -> int:
        """Return the file that the next group goes to, beginning a new one where it would not fit."""
        used = self._end - self._base
        if self._fd is not None and (used == 0 or used + size <= self._segment_bytes):
            return self._fd
        self._seal()
        path = self.partition.segment(self._end)
        # A file that was given up before anything in it was durable has this one's name.
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _allocate(fd, max(size, self._segment_bytes), used=0)
            os.fsync(fd)
            sync_folder(self.partition.path)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._base = fd, self._end
        return fd

    def _publish(self, end: int) -> None:
        self._end = end
        self._published.store(Durable(end, self._base))

    def _give_up(self) -> None:
        """Let the next group begin a new file. Told once, however many groups fail in a row."""
        if not self._failing:
            path = self.partition.segment(self._base)
            _log.error("giving up %s at offset %d, because it could not be written", path, self._end)
        self._failing = True
        self._seal()

    def _seal(self) -> None:
        """Cut the current file where it is durable, and close it. Readers never look beyond in any case."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            os.ftruncate(fd, self._end - self._base)
        except OSError as error:
            _log.warning("could not truncate %s: %s", self.partition.segment(self._base), error)
        finally:
            os.close(fd)


def repair(folder: LogFolder) -> None:
    """Publish the durable end of every partition that nobody appends to.

    After a power cut a published end may lie below what was acknowledged; without this a reader
    would wait for an appender to come back to that partition.

    Raises:
        OSError: the folder could not be read or written.
    """
    with folder.claiming():
        for partition in folder.partitions():
            lock = try_lock(partition)
            if lock is not None:
                _repair_locked(partition, lock, folder)


def _repair_locked(partition: Partition, lock: int, folder: LogFolder) -> None:
    try:
        published = PublishedEnd.open(partition.end_path, writable=True)
        try:
            recover(partition, published, seed=folder.seed)
        finally:
            published.close()
    finally:
        os.close(lock)


def _allocate(fd: int, size: int, *, used: int) -> None:
    """Allocate a file ahead. On a disk too full for that, leave the room to others; it grows as it is written."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        os.ftruncate(fd, used)


def _write_fully(fd: int, buffers: list[bytes], position: int) -> None:
    for start in range(0, len(buffers), _IOV_MAX):
        position = _write_vector(fd, buffers[start : start + _IOV_MAX], position)


def _write_vector(fd: int, buffers: Sequence[bytes], position: int) -> int:
    """Write one vector whole, and return the position after it."""
    pending = [memoryview(b) for b in buffers if b]
    while pending:
        written = os.pwritev(fd, pending, position)
        position += written
        while pending and written >= len(pending[0]):
            written -= len(pending.pop(0))
        if pending and written:
            pending[0] = pending[0][written:]
    return position
