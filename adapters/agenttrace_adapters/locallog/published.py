"""The durable end of a partition, in one small file that the appender and the readers map."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SIZE = 4096
_CHECK = 0x5A17_ED00_C0DE_4C4F
_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Durable:
    """Everything below offset ``end`` is durable; ``base`` is the first offset of the newest segment file."""

    end: int
    base: int


class PublishedEnd:
    """A mapped ``Durable``. One process writes it, after each fdatasync; any number reads it.

    Its three words are end, base and a check of both; a reader that meets them half-changed
    looks again. The file is never synced: after a power cut it may tell an older end, never a
    newer one, and whoever claims the partition finds the true one.
    """

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped
        self._words = memoryview(mapped).cast("Q")

    @classmethod
    def open(cls, path: Path, *, writable: bool) -> Self:
        """Map the file at ``path``; a writer creates it.

        Raises:
            OSError: it could not be opened or created.
        """
        if writable and (not path.exists() or path.stat().st_size < _SIZE):
            _create(path)
        fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            return cls(mmap.mmap(fd, _SIZE, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ))
        finally:
            os.close(fd)

    def load(self) -> Durable | None:
        """Return what was published last, or None where nothing was, or a writer died in between."""
        for _ in range(_TRIES):
            end, base, check = self._words[0], self._words[1], self._words[2]
            if check == end ^ base ^ _CHECK:
                return Durable(end, base)
            if not (end or base or check):
                return None
        return None

    def store(self, durable: Durable) -> None:
        """Publish. What it names must be durable."""
        self._words[0] = durable.end
        self._words[1] = durable.base
        self._words[2] = durable.end ^ durable.base ^ _CHECK

    def close(self) -> None:
        """Unmap. Idempotent."""
        self._words.release()
        self._mapped.close()


def _create(path: Path) -> None:
    """Create the file whole, so that no reader maps a part of it.

    Its page is written, not left a hole: storing into a hole of a full disk would kill the process.
    """
    temporary = path.with_name("end.new")
    with temporary.open("wb") as file:
        file.write(bytes(_SIZE))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
