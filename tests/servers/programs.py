"""Where the servers' programs are. What can be downloaded or built is, once, into a cache outside the repository.

The cache is ``~/.cache/agenttrace-tests``, or the folder that ``AGENTTRACE_TEST_CACHE`` names. Several
test runs may ask for the same program at the same time: one of them fetches it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

KAFKA = "4.1.1"
MINIO = "v0.0.0-20260212201848-7aac2a2c5b7c"
VERSITYGW = "v1.8.0"

_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version></dependency>
  </dependencies>
</project>
"""
_GO_HINT = "install Go 1.24 or later (https://go.dev/dl/), then `python -m tests.servers`"


class MissingProgramError(Exception):
    """A server cannot be started here. ``hint`` is the command that would change that."""

    def __init__(self, server: str, missing: str, hint: str) -> None:
        super().__init__(f"{server} needs {missing}: {hint}")
        self.server = server
        self.hint = hint


def cache() -> Path:
    """Return the folder in which fetched programs are kept."""
    return Path(os.environ.get("AGENTTRACE_TEST_CACHE") or Path.home() / ".cache" / "agenttrace-tests")


def java() -> str:
    """Return the path of a Java runtime.

    Raises:
        MissingProgramError: there is none.
    """
    return _on_path("java", "kafka", "sudo apt-get install -y default-jre-headless maven")


def kafka_jars() -> Path:
    """Return the folder of Apache Kafka's jars, which Maven downloads (43 MB, some seconds).

    Raises:
        MissingProgramError: neither they nor Maven are there, or they could not be downloaded.
    """

    def download(folder: Path) -> None:
        mvn = _on_path("mvn", "kafka", "sudo apt-get install -y default-jre-headless maven")
        (folder / "pom.xml").write_text(_POM)
        _run("kafka", [mvn, "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'libs'}"], folder)

    java()
    return _fetched(cache() / "kafka" / KAFKA, "libs", download)


def minio() -> Path:
    """Return the path of MinIO's server, which Go builds (150 MB, two minutes on two cores).

    Raises:
        MissingProgramError: neither it nor Go is there, or it could not be built.
    """
    return _built_by_go("minio", "github.com/minio/minio", MINIO)


def versitygw() -> Path:
    """Return the path of the S3 server versitygw, which Go builds (61 MB, a minute on two cores).

    Raises:
        MissingProgramError: neither it nor Go is there, or it could not be built.
    """
    return _built_by_go("versitygw", "github.com/versity/versitygw/cmd/versitygw", VERSITYGW)


def postgres(name: str) -> Path:
    """Return the path of one of PostgreSQL's programs, such as ``initdb``; the newest where there are several.

    Raises:
        MissingProgramError: PostgreSQL is not installed.
    """
    installed = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda found: float(found.parts[-3]), reverse=True
    )
    on_path = shutil.which(name)
    if not installed and on_path is None:
        raise MissingProgramError("postgres", name, "sudo apt-get install -y postgresql")
    return installed[0] if installed else Path(str(on_path))


def redis() -> str:
    """Return the path of Redis's server.

    Raises:
        MissingProgramError: it is not installed.
    """
    return _on_path("redis-server", "redis", "sudo apt-get install -y redis-server")


def pgbouncer() -> str:
    """Return the path of PgBouncer.

    Raises:
        MissingProgramError: it is not installed.
    """
    apart = Path("/usr/sbin/pgbouncer")  # a user's path may lack it
    return str(apart) if apart.exists() else _on_path("pgbouncer", "pgbouncer", "sudo apt-get install -y pgbouncer")


def check_postgres() -> None:
    """See whether PostgreSQL could be started.

    Raises:
        MissingProgramError: it is not installed.
    """
    postgres("initdb")


FETCH: dict[str, Callable[[], object]] = {
    "kafka": kafka_jars, "minio": minio, "versitygw": versitygw, "postgres": check_postgres,
    "pgbouncer": pgbouncer, "redis": redis,
}  # fmt: skip
"""By server: look for its program, and fetch it where that can be done."""


def _on_path(program: str, server: str, hint: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingProgramError(server, program, hint)
    return found


def _built_by_go(name: str, module: str, version: str) -> Path:
    def build(folder: Path) -> None:
        go = shutil.which("go")
        if go is None:
            raise MissingProgramError(name, "Go", _GO_HINT)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(folder)}
        _run(name, [go, "install", f"{module}@{version}"], folder, environment)

    return _fetched(cache() / name / version, name, build)


def _fetched(folder: Path, name: str, fetch: Callable[[Path], None]) -> Path:
    """Return ``folder/name``; where it is not yet, ``fetch`` makes it in a folder that then takes that place."""
    with _locked(folder):
        if not (folder / name).exists():
            making = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            fetch(making)
            making.rename(folder)
    return folder / name


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(server: str, command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = (ended.stdout + ended.stderr)[-2000:]
        raise MissingProgramError(server, f"what `{' '.join(command)}` fetches, which failed with {said}", "try again")
