"""PostgreSQL. It refuses to run as root, so root runs it as another user."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.servers.process import ServerProcess
from tests.servers.programs import postgres

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""Answered with one byte by a server that is up (https://www.postgresql.org/docs/current/protocol-message-formats.html)."""


@dataclass(frozen=True)
class PostgresPlace:
    """The URL of a database of a server, whose user may make others."""

    url: str

    @contextmanager
    def new_database(self) -> Generator[str]:
        """Make an empty database, yield its URL, and drop it with whatever is connected to it."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement outside the adapter. It blocks."""
        import asyncpg

        async def run() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        _run(run())


class PostgresServer(ServerProcess):
    """PostgreSQL that trusts everybody who reaches 127.0.0.1, unless ``password_file`` has a password.

    It does not sync: the tests kill processes, not machines, and what it wrote outlives those. ``stop``
    cuts off who is connected.
    """

    # At SIGTERM it would wait until everybody has gone.
    _stop_signal = signal.SIGINT

    def __init__(self, password_file: Path | None = None) -> None:
        self._password_file = password_file
        self._initdb, self._program = postgres("initdb"), postgres("postgres")
        super().__init__(user=other_user() if os.geteuid() == 0 else None)
        if self._user is not None:
            shutil.chown(self.folder, self._user)

    @property
    def place(self) -> PostgresPlace:
        """Where it is."""
        secret = "" if self._password_file is None else f":{self._password_file.read_text().strip()}"
        return PostgresPlace(f"postgresql://agenttrace{secret}@{self.address}/postgres")

    def start(self) -> None:
        """Start it; its data folder is made the first time."""
        if not self._data.exists():
            trust: list[str | Path] = ["-A", "trust"]
            if self._password_file is not None:
                trust = ["-A", "scram-sha-256", "--pwfile", shutil.copy(self._password_file, self.folder)]
            subprocess.run(
                [self._initdb, "--no-sync", *trust, "-U", "agenttrace", "-E", "UTF8", "-D", self._data],
                check=True, capture_output=True, cwd=self.folder, **self._as_user,
            )  # fmt: skip
        super().start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _command(self) -> Sequence[str | Path]:
        switches = ["-c", "fsync=off", "-c", "max_connections=300", "-c", f"unix_socket_directories={self.folder}"]
        return [self._program, "-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), *switches]

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(_SSL_REQUEST)
            if connection.recv(1) != b"N":
                return False
        try:
            self.place.execute("SELECT 1")
        except Exception:  # noqa: BLE001 - it is still starting, or recovers from having been killed
            return False
        return True


def other_user() -> str:
    """Return who runs what refuses to run as root."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _run(work: Coroutine[Any, Any, None]) -> None:
    # On a thread of its own: the caller may be a fixture of a test that has an event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
