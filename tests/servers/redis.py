"""Redis."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import ServerProcess
from tests.servers.programs import redis

_DATABASES = range(1, 16)
_HELD_S = 3600


@dataclass(frozen=True)
class RedisPlace:
    """The URL of a server, without a database."""

    url: str

    @contextmanager
    def new_database(self) -> Generator[str]:
        """Yield the URL of an empty database that no other test uses, also on a server that others share.

        Raises:
            OSError: all are in use.
        """
        from redis import Redis

        with Redis.from_url(f"{self.url}/0") as server:
            for number in _DATABASES:
                held = f"agenttrace-tests:database:{number}"
                if server.set(held, os.getpid(), nx=True, ex=_HELD_S):
                    break
            else:
                raise OSError(f"every database of {self.url} is in use by tests")
            url = f"{self.url}/{number}"
            try:
                with Redis.from_url(url) as database:
                    database.flushdb()
                    yield url
            finally:
                server.delete(held)


class RedisServer(ServerProcess):
    """Redis that keeps nothing on disk: one that was stopped comes back empty.

    Args:
        password: who does not know it is not let in.
        configuration: a file of its own settings.
    """

    def __init__(self, password: str | None = None, configuration: Path | None = None) -> None:
        self._configuration = configuration
        self._program = redis()
        self._password = password
        super().__init__()

    @property
    def place(self) -> RedisPlace:
        """Where it is."""
        return RedisPlace(f"redis://:{self._password}@{self.address}" if self._password else f"redis://{self.address}")

    def _command(self) -> Sequence[str | Path]:
        password = ["--requirepass", self._password] if self._password else []
        configuration = [self._configuration] if self._configuration else []
        return [self._program, *configuration, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *password]

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16)[:1] in b"+-"
