"""TLS and passwords, on a server that asks for them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_adapters.sql import Query, Steps
from agenttrace_contracts.base import opened
from agenttrace_core.errors import ConfigurationError
from tests.servers.plugin import _started
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

_PASSWORD = "p@ss/wörd"
_WRITTEN = "p%40ss%2Fw%C3%B6rd"


@dataclass(frozen=True)
class Guarded:
    """A server with a password and a certificate for 127.0.0.1, its authority, and another one."""

    address: str
    authority: Path
    other: Path

    def url(self, options: str, password: str = _WRITTEN) -> str:
        return f"postgresql://guest:{password}@{self.address}/postgres?{options}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "password").write_text("first")
    with _started(lambda: PostgresServer(folder / "password")) as server:
        for name in ("authority", "other"):
            _openssl(
                folder, f"req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"
            )
        (folder / "san.ext").write_text("subjectAltName=IP:127.0.0.1")
        _openssl(folder, "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server")
        sign = "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2"
        _openssl(folder, f"{sign} -extfile san.ext -out server.crt")
        owner = (server.folder / "data").stat()
        for name in ("server.crt", "server.key"):
            there = server.folder / "data" / name
            there.write_bytes((folder / name).read_bytes())
            there.chmod(0o600)
            os.chown(there, owner.st_uid, owner.st_gid)
        server.place.execute("ALTER SYSTEM SET ssl = on")
        server.place.execute("SELECT pg_reload_conf()")
        server.place.execute(f"CREATE ROLE guest LOGIN SUPERUSER PASSWORD '{_PASSWORD}'")
        yield Guarded(server.address, folder / "authority.pem", folder / "other.pem")


def _openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def _is_encrypted() -> Steps[bool]:
    ((found,),) = yield Query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    return bool(found)


@pytest.mark.parametrize(
    ("options", "is_encrypted"),
    [("sslmode=disable", False), ("sslmode=require", True), ("sslmode=verify-full&sslrootcert={authority}", True)],
)
async def test_passwords_and_certificates(guarded: Guarded, options: str, is_encrypted: bool) -> None:
    """What libpq's options say is what a managed server's page tells its users to write."""
    url = guarded.url(options.format(authority=guarded.authority))
    async with opened(PostgresCatalog.from_url(url)) as catalog:
        assert await catalog._read(_is_encrypted()) is is_encrypted


async def test_a_certificate_of_somebody_else_is_refused(guarded: Guarded) -> None:
    """Whoever answers for the server would be told the password."""
    url = guarded.url(f"sslmode=verify-full&sslrootcert={guarded.other}")
    with pytest.raises(ConfigurationError, match="is not trusted"):
        async with opened(PostgresCatalog.from_url(url)):
            pass


async def test_a_wrong_password_is_told_and_not_shown(guarded: Guarded) -> None:
    """The operator must know that it is the password, and nobody which it was."""
    catalog = PostgresCatalog.from_url(guarded.url("sslmode=disable", password="hush-hush"))
    with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
        async with opened(catalog):
            pass
    assert "hush" not in f"{caught.value} {caught.value.__cause__!r} {catalog!r}"
