"""A deployment for all tests of faults, put right after each; after one that failed, the next has a new one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import pytest

from tests.faults.scaled.deployment import Deployment, Servers
from tests.servers.fault_proxy import FaultProxy
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.s3 import MinioServer

_failed = pytest.StashKey[bool]()
_LOG_CHARACTERS = 4_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
        found = getattr(item, "funcargs", {}).get("deployment")
        if isinstance(found, Deployment):
            report.sections += [(f"log of {name}", log[-_LOG_CHARACTERS:]) for name, log in found.logs().items()]
    return report


@pytest.fixture(scope="session")
def servers(
    _kafka_server: KafkaServer, _minio_server: MinioServer, _postgres_server: PostgresServer, _redis_server: RedisServer
) -> Iterator[Servers]:
    """The servers, which tests may stop, and the proxy before MinIO, which they may tell to fail."""
    with FaultProxy(_minio_server.place) as proxy:
        yield Servers(_kafka_server, _minio_server, _postgres_server, _redis_server, proxy)


@pytest.fixture(scope="session")
def _deployments(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[Deployment], Callable[[], Deployment]]]:
    """The deployment there is, if there is one, and how another is made."""
    made: list[Deployment] = []

    def make() -> Deployment:
        made.append(Deployment(tmp_path_factory.mktemp("deployment"), servers))
        return made[0]

    yield made, make
    for deployment in made:
        deployment.destroy()


@pytest.fixture
def deployment(
    request: pytest.FixtureRequest,
    servers: Servers,
    _deployments: tuple[list[Deployment], Callable[[], Deployment]],
) -> Iterator[Deployment]:
    """Everything started, but for the compactor."""
    made, make = _deployments
    found = made[0] if made else make()
    defects = len(found.defects())
    try:
        found.start()
        yield found
        assert not found.defects()[defects:]
    except BaseException:
        request.node.stash[_failed] = True
        raise
    finally:
        servers.restore()
        if request.node.stash.get(_failed, False):
            made.remove(found)
            found.destroy()
