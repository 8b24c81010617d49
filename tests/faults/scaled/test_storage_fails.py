"""MinIO is away, fails, loses answers, or is slow: what was acknowledged waits in the queue, and is written once."""

from __future__ import annotations

import time

import pytest

from tests.faults.scaled.checks import check, check_sums, watched
from tests.faults.scaled.deployment import Deployment
from tests.faults.scaled.form import SEEDS, short_or_long
from tests.faults.scaled.load import loaded
from tests.faults.scaled.test_servers_away import attempts, away, unattended

pytestmark = [pytest.mark.timeout(short_or_long(300, 900)), pytest.mark.parametrize("seed", SEEDS)]


@pytest.mark.parametrize("how", short_or_long(["stopped"], ["stopped", "killed", "hanging"]))
def test_it_is_away(deployment: Deployment, how: str, seed: int) -> None:
    """Lost: acknowledgements, which need no storage; or what writers could not store."""
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        time.sleep(1)
        began = time.monotonic()
        with away(deployment.servers.minio, how):
            time.sleep(short_or_long(4, 60))
            ended = time.monotonic()
        time.sleep(1)
    assert {status for status, _ in attempts(ledger, began, ended)} == {200}
    check(deployment, ledger)


@pytest.mark.parametrize("status", short_or_long([503], [500, 503]))
def test_each_third_request_fails(deployment: Deployment, status: int, seed: int) -> None:
    """Lost: files of which a part was not stored, and answers that leave out what could not be read."""
    deployment.servers.proxy.fail(1 / 3, status=status)
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        time.sleep(short_or_long(3, 30))
    check(deployment, ledger)


def test_the_connection_is_reset_after_a_put(deployment: Deployment, seed: int) -> None:
    """Lost: the difference between a file that is there and one that is not, where nobody was told."""
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        for _ in range(short_or_long(8, 80)):
            deployment.servers.proxy.lose_answers(3)
            time.sleep(0.5)
    deployment.servers.proxy.lose_answers(10)
    check(deployment, ledger)


def test_it_is_slow(deployment: Deployment, seed: int) -> None:
    """Lost: whatever a timeout takes for failed that succeeds after it."""
    deployment.servers.proxy.slow(5)
    with loaded(deployment, seed) as ledger, watched(deployment, ledger), unattended(deployment):
        time.sleep(short_or_long(6, 60))
    check_sums(deployment, ledger)
    deployment.servers.proxy.heal()
    check(deployment, ledger)
