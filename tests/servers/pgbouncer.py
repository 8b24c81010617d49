"""PgBouncer, which hands out PostgreSQL's connections one transaction at a time. It refuses to run as root, too."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.servers.postgres import other_user
from tests.servers.process import ServerProcess
from tests.servers.programs import pgbouncer

_CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
"""


class PgBouncerServer(ServerProcess):
    """Stands before the server of ``url``, with three connections to each database."""

    def __init__(self, url: str) -> None:
        self._program, self._server = pgbouncer(), urlsplit(url)
        super().__init__(user=other_user() if os.geteuid() == 0 else None)
        self._configuration = self.folder / "pgbouncer.ini"
        self._configuration.write_text(
            _CONFIGURATION.format(
                host=self._server.hostname, port=self._server.port, user=self._server.username,
                password=self._server.password or "none", listen=self.port,
            )
        )  # fmt: skip
        if self._user is not None:
            shutil.chown(self.folder, self._user)

    def through(self, url: str) -> str:
        """Return the URL of the same database through this."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{self.address}"))

    def _command(self) -> Sequence[str | Path]:
        return [self._program, self._configuration]

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
