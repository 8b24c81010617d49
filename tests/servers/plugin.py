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
from typing import Any, TypeVar

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


# --- What each server has -------------------------------------------------------------------------


def _fixtures_of(name: str, make: Callable[[], ServerProcess], title: str, place: Callable[[str], Any]) -> Any:
    """Return the fixtures ``_NAME_server``, ``own_NAME`` and ``NAME``; ``place`` reads where a named server is."""
    of_this_run = f"_{name}_server"

    def started() -> Iterator[ServerProcess]:
        with _started(make) as server:
            yield server

    def own(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
        with _put_right(request.getfixturevalue(of_this_run)) as server:
            yield server

    def shared(request: pytest.FixtureRequest) -> Any:
        named = _named(name)
        return place(named) if named else request.getfixturevalue(of_this_run).place

    started.__doc__ = f"{title}, started for this run."
    own.__doc__ = f"{title} that the test may stop, kill and pause."
    shared.__doc__ = f"{title} that all tests share."
    return (
        pytest.fixture(scope="session", name=of_this_run)(started),
        pytest.fixture(name=f"own_{name}")(own),
        pytest.fixture(scope="session", name=name)(shared),
    )


# --- Apache Kafka ---------------------------------------------------------------------------------

_kafka_server, own_kafka, kafka = _fixtures_of("kafka", KafkaServer, "Apache Kafka", KafkaPlace)


@pytest.fixture
def kafka_url(kafka: KafkaPlace) -> str:
    """A value of ``queue``: a topic that does not exist yet."""
    return kafka.url(f"test-{uuid.uuid4().hex[:16]}")


# --- Object storage -------------------------------------------------------------------------------

_minio_server, own_minio, minio = _fixtures_of("minio", MinioServer, "MinIO", S3Place.from_url)
_versitygw_server, own_versitygw, versitygw = _fixtures_of("versitygw", VersitygwServer, "Versitygw", S3Place.from_url)


@pytest.fixture
def minio_bucket(minio: S3Place) -> S3Bucket:
    """An empty bucket; ``place.environment()`` says whose."""
    return minio.new_bucket()


@pytest.fixture
def versitygw_bucket(versitygw: S3Place) -> S3Bucket:
    """An empty bucket; ``place.environment()`` says whose."""
    return versitygw.new_bucket()


@pytest.fixture
def faulty_minio(minio: S3Place) -> Iterator[FaultProxy]:
    """A proxy in front of MinIO that fails on command, and counts what is asked."""
    with FaultProxy(minio) as proxy:
        yield proxy


@pytest.fixture
def archive(versitygw: S3Place) -> Iterator[ArchiveProxy]:
    """A proxy in front of versitygw that keeps archives, as Amazon S3 does."""
    with ArchiveProxy(versitygw) as proxy:
        yield proxy


# --- PostgreSQL -----------------------------------------------------------------------------------

_postgres_server, own_postgres, postgres = _fixtures_of("postgres", PostgresServer, "PostgreSQL", PostgresPlace)


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

_redis_server, own_redis, redis = _fixtures_of("redis", RedisServer, "Redis", RedisPlace)


@pytest.fixture
def redis_url(redis: RedisPlace) -> Iterator[str]:
    """A value of ``cache``: an empty database."""
    with redis.new_database() as url:
        yield url
