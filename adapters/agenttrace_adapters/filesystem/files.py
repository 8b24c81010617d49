"""What durable files need of the operating system, and what its errors mean to a caller."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agenttrace_core.errors import ConfigurationError, InvalidInputError, UnavailableError

_IOV_MAX = 1024  # Linux's limit of buffers a writev; see writev(2)
_COMPARE_BYTES = 1 << 20


def path_of(url: str, example: str) -> Path:
    """Return the path of a ``file:PATH`` URL.

    Raises:
        ConfigurationError: it is not one; the message shows ``example``.
    """
    scheme, _, path = url.partition(":")
    if scheme != "file" or not path:
        raise ConfigurationError(f"{url!r} names no folder: write it like {example!r}")
    return Path(path)


@contextmanager
def translated(what: str) -> Generator[None]:
    """Turn an ``OSError`` into the error that a caller can act on.

    Raises:
        InvalidInputError: the name is too long for the file system, or is both file and folder.
        UnavailableError: anything else, such as a full disk or a failing fsync.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR):
            raise InvalidInputError(f"{what}: {error.strerror}: a key cannot be another key's folder") from error
        raise UnavailableError(f"{what}: {error.strerror or error}") from error


def write_all(fd: int, buffers: Sequence[memoryview | bytes]) -> None:
    """Write every byte of ``buffers``, without joining them."""
    left = [view for view in (memoryview(buffer).cast("B") for buffer in buffers) if len(view)]
    first = 0
    while first < len(left):
        written = os.writev(fd, left[first : first + _IOV_MAX])
        while first < len(left) and written >= len(left[first]):
            written -= len(left[first])
            first += 1
        if written:
            left[first] = left[first][written:]


def holds(path: Path, buffers: Sequence[memoryview | bytes]) -> bool:
    """Tell whether the file's bytes are the concatenation of ``buffers``.

    Raises:
        FileNotFoundError: there is no such file.
    """
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != sum(map(len, views)):
            return False
        return all(
            file.read(len(part)) == part
            for view in views
            for part in (view[at : at + _COMPARE_BYTES] for at in range(0, len(view), _COMPARE_BYTES))
        )


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(folder: Path) -> None:
    """Make ``folder`` and its missing parents, durably."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
