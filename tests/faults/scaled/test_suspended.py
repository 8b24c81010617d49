"""A writer that is suspended past the end of its leases, and then goes on as if nothing had happened."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.scaled.checks import check, watched
from tests.faults.scaled.deployment import LEASE_S, Deployment
from tests.faults.scaled.form import SEEDS, short_or_long
from tests.faults.scaled.load import loaded
from tests.faults.scaled.parts import FailAt
from tests.faults.test_pipeline import WRITER_STEPS

pytestmark = [pytest.mark.timeout(short_or_long(300, 600)), pytest.mark.parametrize("seed", SEEDS)]


@pytest.mark.parametrize("step", short_or_long(["", "stored", "committing"], ["", *WRITER_STEPS]))
def test_a_writer_that_others_took_over_from(deployment: Deployment, step: str, seed: int) -> None:
    """Lost: what two writers write, each of whom believes that it is the one; or there twice."""
    writer = deployment.writers[seed % len(deployment.writers)]
    if step:
        writer.stop()
        writer.start(FailAt(step, 1 + seed, signal.SIGSTOP))
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        if step:
            writer.wait_paused()
        else:
            time.sleep(1)
            writer.pause()
        time.sleep(LEASE_S)
        deployment.wait_written()
        writer.resume()
        time.sleep(1)
    check(deployment, ledger)
    assert writer.runs, "it gave up"
