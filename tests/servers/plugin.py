"""Fixtures of the servers, and what is said where one cannot be had.

By server, here for Kafka:

- ``kafka``: where one is, for all tests of a run: the one that ``AGENTTRACE_TEST_KAFKA`` names, or one that
  is started for this run. Nobody stops it.
- ``kafka_url`` (``minio_bucket``, ``postgres_url``, …): something empty on it, for one test.
- ``own_kafka``: one that was started for this run, for a test that stops, kills or pauses it; it is put right
  after each test.

A test whose server cannot be had is skipped, and the summary says the command that would run it. With
``AGENTTRACE_TEST_SERVERS=required`` it fails.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import pytest

from tests.servers.archive_proxy import ArchiveProxy
from tests.servers.fault_proxy import FaultProxy
from tests.servers.kafka import KafkaPlace, KafkaServer
from tests.servers.pgbouncer import PgBouncerServer
from tests.servers.postgres import PostgresPlace, PostgresServer
from tests.servers.process import ServerProcess
from tests.servers.programs import FETCH, MissingProgramError
from tests.servers.redis import RedisPlace, RedisServer
from tests.servers.s3 import MinioServer, S3Bucket, S3Place, VersitygwServer

S = TypeVar("S", bound=ServerProcess)

_NOT_RUN = "not run, no server: "


# --- What is missing ------------------------------------------------------------------------------


class _Missing:
    """Counts the tests that were not run, by reason, and says so at the end."""

    def __init__(self) -> None:
        self._tests: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple) and _NOT_RUN in report.longrepr[2]:
            self._tests[report.longrepr[2].partition(_NOT_RUN)[2]] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._tests:
            terminalreporter.section("servers that are not here")
        for reason, tests in sorted(self._tests.items()):
            terminalreporter.write_line(f"{tests} test{'s' * (tests != 1)} not run: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Missing(), "servers-missing")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what the chosen tests need before the first of them begins, as no test's time allows for it."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for server, fetch in FETCH.items():
        if wanted & {f"own_{server}", f"_{server}_server"} or (server in wanted and not _named(server)):
            with suppress(MissingProgramError):  # the fixture says so
                fetch()


@contextmanager
def _started(make: Callable[[], S]) -> Generator[S]:
    try:
        server = make()
    except MissingProgramError as error:
        if os.environ.get("AGENTTRACE_TEST_SERVERS") == "required":
            pytest.fail(f"AGENTTRACE_TEST_SERVERS=required, and {error}")
        pytest.skip(f"{_NOT_RUN}{error}")
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@contextmanager
def _put_right(server: S) -> Generator[S]:
    try:
        yield server
    finally:
        server.restore()


def _named(server: str) -> str | None:
    return os.environ.get(f"AGENTTRACE_TEST_{server.upper()}") or None


# --- Apache Kafka ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _kafka_server() -> Iterator[KafkaServer]:
    with _started(KafkaServer) as server:
        yield server


@pytest.fixture
def own_kafka(_kafka_server: KafkaServer) -> Iterator[KafkaServer]:
    """Apache Kafka that the test may stop, kill and pause."""
    with _put_right(_kafka_server) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> KafkaPlace:
    """Apache Kafka that all tests share."""
    if named := _named("kafka"):
        return KafkaPlace(named)
    server: KafkaServer = request.getfixturevalue("_kafka_server")
    return server.place


@pytest.fixture
def kafka_url(kafka: KafkaPlace) -> str:
    """A value of ``queue``: a topic that does not exist yet."""
    return kafka.url(f"test-{uuid.uuid4().hex[:16]}")


# --- MinIO ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _minio_server() -> Iterator[MinioServer]:
    with _started(MinioServer) as server:
        yield server


@pytest.fixture
def own_minio(_minio_server: MinioServer) -> Iterator[MinioServer]:
    """MinIO that the test may stop, kill and pause."""
    with _put_right(_minio_server) as server:
        yield server


@pytest.fixture(scope="session")
def minio(request: pytest.FixtureRequest) -> S3Place:
    """MinIO that all tests share."""
    if named := _named("minio"):
        return S3Place.from_url(named)
    server: MinioServer = request.getfixturevalue("_minio_server")
    return server.place


@pytest.fixture
def minio_bucket(minio: S3Place) -> S3Bucket:
    """An empty bucket; ``place.environment()`` says whose."""
    return minio.new_bucket()


@pytest.fixture
def faulty_minio(minio: S3Place) -> Iterator[FaultProxy]:
    """A proxy in front of MinIO that fails on command, and counts what is asked."""
    with FaultProxy(minio) as proxy:
        yield proxy


# --- versitygw ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _versitygw_server() -> Iterator[VersitygwServer]:
    with _started(VersitygwServer) as server:
        yield server


@pytest.fixture
def own_versitygw(_versitygw_server: VersitygwServer) -> Iterator[VersitygwServer]:
    """Versitygw that the test may stop, kill and pause."""
    with _put_right(_versitygw_server) as server:
        yield server


@pytest.fixture(scope="session")
def versitygw(request: pytest.FixtureRequest) -> S3Place:
    """Versitygw that all tests share."""
    if named := _named("versitygw"):
        return S3Place.from_url(named)
    server: VersitygwServer = request.getfixturevalue("_versitygw_server")
    return server.place


@pytest.fixture
def archive(versitygw: S3Place) -> Iterator[ArchiveProxy]:
    """A proxy in front of versitygw that keeps archives, as Amazon S3 does."""
    with ArchiveProxy(versitygw) as proxy:
        yield proxy


@pytest.fixture
def versitygw_bucket(versitygw: S3Place) -> S3Bucket:
    """An empty bucket; ``place.environment()`` says whose."""
    return versitygw.new_bucket()


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[PostgresServer]:
    with _started(PostgresServer) as server:
        yield server


@pytest.fixture
def own_postgres(_postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """PostgreSQL that the test may stop, kill and pause."""
    with _put_right(_postgres_server) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> PostgresPlace:
    """PostgreSQL that all tests share."""
    if named := _named("postgres"):
        return PostgresPlace(named)
    server: PostgresServer = request.getfixturevalue("_postgres_server")
    return server.place


@pytest.fixture
def postgres_url(postgres: PostgresPlace) -> Iterator[str]:
    """A value of ``metadata``: an empty database."""
    with postgres.new_database() as url:
        yield url


@pytest.fixture(scope="session")
def pgbouncer(postgres: PostgresPlace) -> Iterator[PgBouncerServer]:
    """PgBouncer in front of ``postgres``, in transaction mode."""
    with _started(lambda: PgBouncerServer(postgres.url)) as server:
        yield server


@pytest.fixture
def pgbouncer_url(pgbouncer: PgBouncerServer, postgres_url: str) -> str:
    """A value of ``metadata``: the database of ``postgres_url``, through PgBouncer."""
    return f"{pgbouncer.through(postgres_url)}?pgbouncer=true"


# --- Redis ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[RedisServer]:
    with _started(RedisServer) as server:
        yield server


@pytest.fixture
def own_redis(_redis_server: RedisServer) -> Iterator[RedisServer]:
    """Redis that the test may stop, kill and pause."""
    with _put_right(_redis_server) as server:
        yield server


@pytest.fixture(scope="session")
def redis(request: pytest.FixtureRequest) -> RedisPlace:
    """Redis that all tests share."""
    if named := _named("redis"):
        return RedisPlace(named)
    server: RedisServer = request.getfixturevalue("_redis_server")
    return server.place


@pytest.fixture
def redis_url(redis: RedisPlace) -> Iterator[str]:
    """A value of ``cache``: an empty database."""
    with redis.new_database() as url:
        yield url
