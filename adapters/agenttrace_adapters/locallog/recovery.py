"""What is done to a partition when it is claimed: find its true end, and cut off what was never acknowledged.

Only the newest segment file is looked at, from the published end on: every earlier file was
synced before the newest was made, and damage below the published end is the reader's to tell.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from agenttrace_adapters.locallog.folder import Partition
from agenttrace_adapters.locallog.published import Durable, PublishedEnd
from agenttrace_adapters.locallog.record import SegmentView, read_fully

_log = logging.getLogger(__name__)
_COPY_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Recovered:
    """``durable`` is what may be published. ``writable`` says whether its segment may be appended to."""

    durable: Durable
    writable: bool


def recover(partition: Partition, published: PublishedEnd, *, seed: int) -> Recovered:
    """Repair a partition that this process has locked, and publish its durable end.

    A torn record after the last whole one is removed: nobody was told that it is durable. Damage
    with whole records behind it stays where it is, because those may have been acknowledged.

    Raises:
        OSError: the files could not be read or written.
    """
    before, bases = published.load(), partition.bases()
    if bases:
        recovered = _recover_segment(partition, bases[-1], before, seed=seed)
    else:
        end = before.end if before else 0
        recovered = Recovered(Durable(end, end), writable=False)
    published.store(recovered.durable)
    return recovered


def _recover_segment(partition: Partition, base: int, before: Durable | None, *, seed: int) -> Recovered:
    fd = os.open(partition.segment(base), os.O_RDWR | os.O_CLOEXEC)
    try:
        limit = base + os.fstat(fd).st_size
        known = max(base, before.end if before else 0)
        if known > limit:
            _log.error(
                "partition %d of the log: %s ends at offset %d, and everything up to %d was acknowledged; "
                "the rest is lost", partition.number, partition.segment(base), limit, known,
            )  # fmt: skip
            return Recovered(Durable(known, base), writable=False)
        end = _true_end(SegmentView(fd, base=base, limit=limit, seed=seed), known, partition)
        _vouch(fd, known - base, end - base)
        return Recovered(Durable(end, base), writable=True)
    finally:
        os.close(fd)


def _true_end(view: SegmentView, offset: int, partition: Partition) -> int:
    """Return the end of the last whole record from ``offset`` on, going past damage between whole records."""
    while True:
        for frame in view.frames(offset):
            offset = frame.end
        if view.blank(offset):
            return offset
        following = view.next_whole(offset + 1)
        if following is None:
            _log.warning("partition %d of the log: removed a torn record at offset %d", partition.number, offset)
            return offset
        _log.error("partition %d of the log: damaged from offset %d to %d", partition.number, offset, following)
        offset = following


def _vouch(fd: int, start: int, end: int) -> None:
    """Cut the file at ``end`` and make what is between durable.

    It is written again first: where an fdatasync failed before the crash, the kernel believes
    pages to be clean that never reached the disk.
    """
    os.ftruncate(fd, end)
    for position in range(start, end, _COPY_BYTES):
        os.pwrite(fd, read_fully(fd, min(_COPY_BYTES, end - position), position), position)
    os.fsync(fd)
