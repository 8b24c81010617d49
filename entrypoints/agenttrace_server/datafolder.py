"""The data folder: who owns it, which release wrote it, and where its server listens.

::

    DIR/format.json      {"format": 1, "release": "0.1.0"}; a newer format is refused
    DIR/lock             held by the supervisor for as long as it lives; says its pid
    DIR/writer.lock      held by the one writer, unless writers share a queue
    DIR/server.id        names the server of this folder among those that share backends
    DIR/status.json      what each process of `agenttrace up` is doing
    DIR/endpoints.json   where it listens; there only while every door is open

Locks are ``flock(2)``: the kernel gives them back when the holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from agenttrace_core import __version__
from agenttrace_core.errors import ConfigurationError

FORMAT = 1
"""Version of the folder's layout. Raised when an older release could no longer read what this one writes."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running server is reached: two URLs, and ``host:port`` for gRPC."""

    api: str
    otlp_http: str
    otlp_grpc: str


class FolderLock:
    """An exclusive lock on a file, which names its holder's pid to those who come second."""

    def __init__(self, path: Path, what: str) -> None:
        """Prepare a lock at ``path``; ``what`` names the thing that is locked, for errors."""
        self._path = path
        self._what = what
        self._fd = -1

    def acquire(self, *, wait_s: float = 0.0) -> None:
        """Take the lock.

        Waiting helps where the former holder has been killed and the kernel has not buried it yet.

        Raises:
            ConfigurationError: another process still holds it after ``wait_s`` seconds.
        """
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        give_up = time.monotonic() + wait_s
        while not self._try():
            if time.monotonic() >= give_up:
                owner = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
                self.release()
                raise ConfigurationError(f"{self._what} is in use by process {owner}: stop that one first")
            time.sleep(0.02)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def check(folder: Path) -> None:
    """Make the folder, or check that this release can read it.

    Raises:
        ConfigurationError: it belongs to a newer release, holds other things, or cannot be made.
    """
    try:
        # What agents were told is for the eyes of whoever runs the server. A folder that is there stays as it is.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = read_format(folder)
        if found is None:
            _refuse_foreign(folder)
        elif found > FORMAT:
            raise ConfigurationError(
                f"the data folder {folder} has format {found}, made by a newer release; agenttrace {__version__} "
                f"reads formats up to {FORMAT}: upgrade with pip install -U agenttrace-platform"
            )
    except OSError as error:
        raise ConfigurationError(f"data = {str(folder)!r}: the folder cannot be used: {error.strerror}") from error


def mark(folder: Path) -> None:
    """Say in a checked folder that it has this release's format, so that an older one refuses it."""
    if read_format(folder) != FORMAT:
        write_json(folder / "format.json", {"format": FORMAT, "release": __version__})


def read_format(folder: Path) -> int | None:
    """Return the format of the folder, None if it has not been used yet.

    Raises:
        ConfigurationError: ``format.json`` is damaged.
    """
    path = folder / "format.json"
    if not path.exists():
        return None
    found = read_json(path).get("format")
    if not isinstance(found, int):
        raise ConfigurationError(f'{path} is damaged: wanted is {{"format": {FORMAT}, …}}')
    return found


def folder_lock(folder: Path) -> FolderLock:
    """Return the lock of the folder's owner."""
    return FolderLock(folder / "lock", f"the data folder {folder}")


def writer_lock(folder: Path) -> FolderLock:
    """Return the lock of the folder's one writer."""
    return FolderLock(folder / "writer.lock", f"the writer of {folder}")


def server_id(folder: Path) -> str:
    """Return the name of the folder's server, made at first use."""
    path = folder / "server.id"
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(uuid4().hex, encoding="ascii")
        with suppress(FileExistsError):  # another part was quicker
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text(encoding="ascii").strip()


def write_endpoints(folder: Path, endpoints: Endpoints) -> None:
    """Say where the server listens, atomically."""
    write_json(folder / "endpoints.json", asdict(endpoints))


def read_endpoints(folder: Path) -> Endpoints | None:
    """Return where the folder's server listens, None if none says so."""
    found = read_json(folder / "endpoints.json")
    try:
        return Endpoints(**found)
    except TypeError:
        return None


def forget_endpoints(folder: Path) -> None:
    """Say that nobody listens any more. Idempotent."""
    for name in ("endpoints.json", "status.json"):
        (folder / name).unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a small JSON file, so that readers see the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(value) + "\n", encoding="utf-8")
    fresh.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a small JSON file; empty if it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _refuse_foreign(folder: Path) -> None:
    strangers = [
        name for name in sorted(entry.name for entry in folder.iterdir()) if name not in ("lock", "writer.lock")
    ]
    if any(not name.startswith(".format.json") for name in strangers):
        raise ConfigurationError(
            f"data = {str(folder)!r}: the folder is not empty and not AgentTrace's ({strangers[0]!r} is in it): "
            "choose another, or an empty one"
        )
