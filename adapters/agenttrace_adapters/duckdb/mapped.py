"""Arrow files that are read where they are mapped, without being counted as memory for longer than they are read.

The kernel counts pages of a mapped file as memory of whoever has read them, and takes them back when they are wanted
elsewhere. Until then one question over all traces makes a process look as large as all of its files, also to those
who end what is too large. So the kernel is told which pages are not needed any more. They stay in its cache: to read
them again is to wait for no disk.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from weakref import WeakSet

import pyarrow as pa

_MOST_BYTES = 96 << 20
"""Pages of files, and of memory that is shared, that are kept from one question to the next."""

_mapped: WeakSet[mmap.mmap] = WeakSet()


def mapped_table(path: Path) -> pa.Table:
    """Map an Arrow file.

    Raises:
        FileNotFoundError: it is gone.
        pa.ArrowInvalid: it is none.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise pa.ArrowInvalid("it is empty")
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _mapped.add(pages)
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(pages))).read_all()


def let_go(most_bytes: int = _MOST_BYTES) -> None:
    """Give pages of mapped files back, where more than so many are in memory. What is being read stays readable."""
    if not hasattr(mmap, "MADV_DONTNEED") or shared_bytes() <= most_bytes:
        return
    for pages in list(_mapped):
        pages.madvise(mmap.MADV_DONTNEED)


def shared_bytes() -> int:
    """Return how many bytes of memory the process shares with files; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0
