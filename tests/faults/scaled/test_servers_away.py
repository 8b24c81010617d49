"""Kafka, PostgreSQL and Redis are away, and come back: nothing is lost, and nobody has to be started again."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.faults.scaled.checks import check, watched
from tests.faults.scaled.deployment import IN_FLIGHT_BYTES, Deployment
from tests.faults.scaled.form import SEEDS, short_or_long
from tests.faults.scaled.load import Ledger, loaded
from tests.servers.postgres import PostgresPlace
from tests.servers.process import ServerProcess

pytestmark = [pytest.mark.timeout(short_or_long(300, 900)), pytest.mark.parametrize("seed", SEEDS)]

_SETTLES_S = 2.0
"""Until a server that was stopped has been missed."""


@contextmanager
def unattended(deployment: Deployment) -> Iterator[None]:
    """See that no part ends, or is started again."""
    before = [part.pid for part in deployment.running]
    yield
    assert [part.pid for part in deployment.running] == before
    assert all(part.runs for part in deployment.running)


@contextmanager
def away(server: ServerProcess, how: str = "stopped") -> Iterator[None]:
    """Have a server ``stopped``, ``killed`` or ``hanging`` for the length of the block."""
    {"stopped": server.stop, "killed": server.kill, "hanging": server.pause}[how]()
    try:
        yield
    finally:
        server.restore()


def attempts(ledger: Ledger, since: float, until: float) -> list[tuple[int, float]]:
    """Return status and seconds of the attempts that lay between two moments."""
    return [(s, took) for ended, s, took in ledger.latencies if since < ended - took and ended < until]


@pytest.mark.parametrize("how", ["stopped", "killed", "hanging"])
def test_kafka(deployment: Deployment, how: str, seed: int) -> None:
    """Lost: senders that wait for a broker that is not there, until they or the door run out of memory."""
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        time.sleep(1)
        before = deployment.ingests[0].resident_bytes()
        began = time.monotonic()
        with away(deployment.servers.kafka, how):
            time.sleep(_SETTLES_S)
            grown = _flooded(deployment, ledger, short_or_long(4, 60)) - before
            ended = time.monotonic()
        time.sleep(1)
    answered = attempts(ledger, began + _SETTLES_S, ended)
    assert {status for status, _ in answered} <= {429, 503}
    assert statistics.median(took for _, took in answered) < 1
    assert grown < 3 * IN_FLIGHT_BYTES
    check(deployment, ledger)


def _flooded(deployment: Deployment, ledger: Ledger, seconds: float) -> int:
    """Send large requests to a door that cannot store them; return the most memory that it took."""
    over = time.monotonic() + seconds
    body = bytes(2 << 20)

    def send() -> None:
        with httpx.Client(timeout=10) as client:
            while time.monotonic() < over:
                headers = {"content-type": "application/x-protobuf", **ledger.project.headers}
                client.post(f"{deployment.doors[0]}/v1/traces", content=body, headers=headers)

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, deployment.ingests[0].resident_bytes())
        time.sleep(0.1)
    return most


@pytest.mark.parametrize("how", short_or_long(["stopped"], ["stopped", "killed", "hanging"]))
def test_postgres(deployment: Deployment, how: str, seed: int) -> None:
    """Lost: acknowledgements while only the catalog is away; or what writers held meanwhile."""
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        time.sleep(1)
        began = time.monotonic()
        with away(deployment.servers.postgres, how):
            time.sleep(short_or_long(3, 60))
            ended = time.monotonic()
        time.sleep(1)
    assert {status for status, _ in attempts(ledger, began, ended)} == {200}
    check(deployment, ledger)


def test_postgres_is_locked(deployment: Deployment, seed: int) -> None:
    """Lost: the same, where the catalog hangs rather than fails."""
    seconds = short_or_long(8, 60)
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        time.sleep(1)
        began = time.monotonic()
        PostgresPlace(deployment.metadata).execute(
            f"BEGIN; LOCK TABLE agenttrace.catalog IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
        )
        ended = time.monotonic()
    assert {status for status, _ in attempts(ledger, began, ended)} == {200}
    check(deployment, ledger)


@pytest.mark.parametrize("how", short_or_long(["stopped", "hanging"], ["stopped", "killed", "hanging"]))
def test_redis(deployment: Deployment, how: str, seed: int) -> None:
    """Lost: ingestion, where only what is shared of limits and events is away."""
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        time.sleep(1)
        began = time.monotonic()
        with away(deployment.servers.redis, how):
            time.sleep(short_or_long(3, 60))
            ended = time.monotonic()
        time.sleep(1)
    assert {status for status, _ in attempts(ledger, began, ended)} == {200}
    check(deployment, ledger)


@pytest.mark.parametrize("which", short_or_long(["all"], ["all", "kafka", "minio", "postgres", "redis"]))
def test_parts_that_begin_meanwhile(deployment: Deployment, which: str, seed: int) -> None:
    """Lost: a part that was restarted at the wrong moment, and that nobody restarts a second time."""
    servers = deployment.servers
    every = {"kafka": servers.kafka, "minio": servers.minio, "postgres": servers.postgres, "redis": servers.redis}
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        time.sleep(1)
        for part in deployment.running:
            part.kill()
        with ExitStack() as missing:
            for server in every.values() if which == "all" else [every[which]]:
                missing.enter_context(away(server))
            for part in deployment.running:
                part.launch()
            time.sleep(short_or_long(4, 25))
            assert all(part.runs for part in deployment.running)
            assert deployment.query.stop() == 0, "it cannot be stopped while it waits"
        deployment.start()
    check(deployment, ledger)
