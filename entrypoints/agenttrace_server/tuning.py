"""What a part of the server sets for its process before it imports pyarrow and numpy.

Memory of a batch is kept for the next batch. By default every large buffer is given back to the kernel,
which must fault in fresh zeroed pages for the next one: measured, a third of the time of decoding a
batch, and of encoding one. glibc is told to keep what is freed, and Arrow to allocate from glibc.
Elsewhere than on glibc only the environment is set.
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_KEEP_BYTES = 64 << 20
_ARENAS = 1  # each keeps what is freed for itself, and grows to the peak of whichever thread comes to it
_LARGEST_ON_HEAP_BYTES = 32 << 20  # the most that mallopt(3) accepts

_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # Nothing here multiplies matrices: numpy's threads for that would only spin, and take up memory.
    "OPENBLAS_NUM_THREADS": "1",
}


def keep_freed_memory() -> bool:
    """Set all of it. Return whether the C library took its part."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {
        _M_MMAP_THRESHOLD: _LARGEST_ON_HEAP_BYTES,
        _M_TRIM_THRESHOLD: _KEEP_BYTES,
        _M_ARENA_MAX: _ARENAS,
    }
    taken = [mallopt(parameter, value) for parameter, value in wanted.items()]
    return all(taken)


def give_back_freed_memory() -> None:
    """Give the kernel what was kept, where the next batch is a while away: it has to be faulted in again then."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
