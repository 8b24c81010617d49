"""kill -9 of each part while spans arrive: what was acknowledged is there, once, and every sum is exact."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.faults.scaled.checks import check, check_now, compact, watched
from tests.faults.scaled.deployment import Deployment
from tests.faults.scaled.form import SEEDS, short_or_long
from tests.faults.scaled.load import loaded
from tests.faults.scaled.parts import FailAt
from tests.faults.test_pipeline import COMPACTOR_STEPS, WRITER_STEPS

pytestmark = [pytest.mark.timeout(short_or_long(300, 600)), pytest.mark.parametrize("seed", SEEDS)]


def test_doors(deployment: Deployment, seed: int) -> None:
    """Lost: a request that was acknowledged by a door that died right after; or one that is counted twice."""
    chance = random.Random(seed)
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        for _ in range(short_or_long(1, 4)):
            for door in deployment.ingests:
                time.sleep(chance.uniform(0.5, 1.5))
                door.kill()
                time.sleep(chance.uniform(0, 1))
                door.launch()
    assert ledger.statuses[0] > 0, "nobody noticed"
    check(deployment, ledger)


@pytest.mark.parametrize("step", WRITER_STEPS)
def test_a_writer_at_a_step(deployment: Deployment, step: str, seed: int) -> None:
    """Lost: spans between the queue and the files, or written twice by those who go on where a writer died."""
    killed = deployment.writers[seed % len(deployment.writers)]
    killed.stop()
    killed.start(FailAt(step, on_visit=1 + seed))
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        assert killed.wait_dead() == -signal.SIGKILL
        time.sleep(0.5)
        killed.launch()
        time.sleep(1)
    check(deployment, ledger)


def test_all_writers_at_any_moment(deployment: Deployment, seed: int) -> None:
    """Lost: spans, where partitions change hands again and again, and for a while nobody has them."""
    chance = random.Random(seed)
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        for _ in range(short_or_long(2, 12)):
            for writer in chance.choices(deployment.writers, k=2):
                time.sleep(chance.uniform(0.2, 1.5))
                if writer.runs:
                    writer.kill()
            for writer in deployment.writers:
                writer.launch()
    check(deployment, ledger)


def test_query(deployment: Deployment, seed: int) -> None:
    """Lost: whoever asks a process that was started again is told less than was told before, or of spans twice."""
    chance = random.Random(seed)
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        for _ in range(short_or_long(2, 8)):
            time.sleep(chance.uniform(0.5, 1.5))
            deployment.query.kill()
            deployment.query.start()
    check(deployment, ledger)


@pytest.mark.parametrize("step", COMPACTOR_STEPS)
def test_the_compactor_at_a_step(deployment: Deployment, step: str, seed: int) -> None:
    """Lost: what was in files that were being merged; or there twice, in the old ones and the new."""
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        time.sleep(short_or_long(4, 20))
    check_now(deployment, ledger)
    with watched(deployment, ledger):
        # At once deleted is what a merge replaced, so that there is something to be deleted.
        grace = "100ms" if step == "deleted" else "20s"
        deployment.compact.launch(FailAt(step), AGENTTRACE_COMPACT__GRACE=grace)
        assert deployment.compact.wait_dead() == -signal.SIGKILL
        check_now(deployment, ledger)
        compact(deployment)
    check_now(deployment, ledger)


def test_the_compactor_while_spans_arrive(deployment: Deployment, seed: int) -> None:
    """Lost: spans of files that a compactor merged while a writer replaced spans of them."""
    chance = random.Random(seed)
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        for _ in range(short_or_long(2, 8)):
            deployment.compact.start()
            time.sleep(chance.uniform(0.5, 2))
            deployment.compact.kill()
    check(deployment, ledger)
