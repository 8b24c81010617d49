"""The log's folder: its format file, its partitions, and the locks that say who appends where."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from agenttrace_core.errors import ConfigurationError

FORMAT = 1
_MASK = (1 << 64) - 1


class Partition:
    """One partition's folder. Does no I/O until asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.name)
        self.end_path = path / "end"

    def bases(self) -> list[int]:
        """Return the first offsets of the segment files, in order."""
        return sorted(int(p.stem) for p in self.path.glob("*.log"))

    def segment(self, base: int) -> Path:
        """Return where the segment file that begins at ``base`` is."""
        return self.path / f"{base:020d}.log"


class LogFolder:
    """The whole log. ``open`` makes it where it is not; ``queue_id`` is known from then on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.queue_id = UUID(int=0)

    @property
    def seed(self) -> int:
        """What makes this log's checksums its own."""
        return self.queue_id.int & _MASK >> 1

    def open(self) -> None:
        """Make the folder and its format file, or read them.

        Raises:
            ConfigurationError: the folder was made by a newer release, or is not a log.
            OSError: it could not be made or read.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / "format.json"
        if not file.exists():
            _create_once(file, json.dumps({"format": FORMAT, "queue_id": str(uuid4())}))
        self.queue_id = _read_format(file)

    def partitions(self) -> list[Partition]:
        """Return all partitions, by number, also those that are just being made."""
        with os.scandir(self.path) as entries:
            numbers = sorted(int(e.name) for e in entries if e.name.isascii() and e.name.isdigit())
        return [self.partition(n) for n in numbers]

    def partition(self, number: int) -> Partition:
        """Return one partition, whether or not it exists."""
        return Partition(self.path / str(number))

    @contextmanager
    def claiming(self) -> Generator[None]:
        """Keep other processes from claiming or repairing partitions for the length of a block."""
        fd = os.open(self.path / "claim.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def try_lock(partition: Partition) -> int | None:
    """Take the right to append to a partition. Return the file to close to give it back, or None if it is taken."""
    fd = os.open(partition.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    return fd


def sync_folder(path: Path) -> None:
    """Make what was created in, or removed from, a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _create_once(file: Path, text: str) -> None:
    """Create a file with its whole content, durably; keep the one that another process made first."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".format-") as temporary:
        temporary.write(text)
        temporary.flush()
        os.fsync(temporary.fileno())
        try:
            os.link(temporary.name, file)
        except FileExistsError:
            return
    sync_folder(file.parent)


def _read_format(file: Path) -> UUID:
    try:
        values = json.loads(file.read_text())
        version, queue_id = int(values["format"]), UUID(values["queue_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} is not a log's format file: {error}; restore it from a backup") from error
    if version > FORMAT:
        raise ConfigurationError(
            f"{file.parent} has log format {version}, and this release reads up to {FORMAT}: "
            "start the release that made it, or a newer one"
        )
    return queue_id
