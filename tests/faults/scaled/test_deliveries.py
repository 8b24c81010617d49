"""What comes more than once, in any order, or cannot be read at all."""

from __future__ import annotations

import random
import time

import httpx
import pytest

from tests.faults.scaled.checks import check, watched
from tests.faults.scaled.deployment import PARTITIONS, Deployment
from tests.faults.scaled.form import SEEDS, short_or_long
from tests.faults.scaled.load import Ledger, loaded, send_all, traces
from tests.faults.scaled.topic import Put, put
from tests.faults.spans import SpanSpec, now_ns, request

pytestmark = [pytest.mark.timeout(short_or_long(300, 600)), pytest.mark.parametrize("seed", SEEDS)]


def test_every_batch_comes_three_times_in_another_order(deployment: Deployment, seed: int) -> None:
    """Lost: every sum, as senders repeat what they are not sure of, by other doors, before and after it was written."""
    chance = random.Random(seed)
    ledger = Ledger(deployment.new_project())
    batches = traces(chance, short_or_long(20, 200))
    with watched(deployment, ledger):
        for round_ in range(3):
            chance.shuffle(batches)
            send_all(deployment, ledger, batches, door=round_)
            if round_ == 1:
                # Who repeats what a writer wrote that is no more, is known to its successor.
                deployment.wait_written()
                deployment.writers[0].kill()
                deployment.writers[0].launch()
    check(deployment, ledger)


def test_poison(deployment: Deployment, seed: int) -> None:
    """Lost: a partition, behind a record that cannot be decoded; or the record, once a release is mended."""
    chance = random.Random(seed)
    start = now_ns()
    mendable, neighbor = (
        SpanSpec(chance.randbytes(15) + b"\1", b"a-span-1", start, start + 1, name=name, service="shop", tokens=7)
        for name in ("in-vain", "neighbor")
    )
    readers = [*deployment.writers, deployment.query]
    for part in readers:
        part.stop()
        part.launch(defect="in-vain")
    for part in readers:
        part.wait_ready()
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        time.sleep(1)
        project = ledger.project.name
        ledger.sending([neighbor])
        put(deployment, [
            *(Put(partition, b"\xff" + chance.randbytes(100), project) for partition in range(PARTITIONS)),
            Put(0, request(mendable), project),
            Put(1, request(neighbor, SpanSpec(b"too short", b"refused!", 1, 2)), project),
            Put(1, b"\x0a\xff\xff\xff\xff\x0f", project),
            Put(2, b"", None),
            Put(3, None, None),
            Put(0, b"not ours", None, {"agenttrace-signal": b"smoke"}),
            Put(1, b"not ours", None, {"agenttrace-received-ns": b"soon", "agenttrace-project": b"\xff"}),
        ])  # fmt: skip
        ledger.done([neighbor], 0)
        deployment.wait_written()
        time.sleep(1)
    check(deployment, ledger)
    for part in readers:
        part.stop()
        part.start()
    letter = _letter(deployment, ledger, request(mendable))
    ledger.sending([mendable])
    assert _post(deployment, ledger, f"/api/v1/dead-letters/{letter}/replay").json()["accepted"] == 1
    ledger.done([mendable], 0)
    check(deployment, ledger)
    assert letter not in _letters(deployment, ledger)
    hopeless = _letter(deployment, ledger, b"\x0a\xff\xff\xff\xff\x0f")
    assert _post(deployment, ledger, f"/api/v1/dead-letters/{hopeless}/replay").status_code == 400
    assert hopeless in _letters(deployment, ledger)


def _letter(deployment: Deployment, ledger: Ledger, body: bytes) -> str:
    (letter,) = (found for found in _letters(deployment, ledger) if _body(deployment, ledger, found) == body)
    return letter


def _letters(deployment: Deployment, ledger: Ledger) -> list[str]:
    found = deployment.ask(ledger.project, "/api/v1/dead-letters", limit=1000)["items"]
    return [letter["id"] for letter in found]


def _body(deployment: Deployment, ledger: Ledger, letter: str) -> bytes:
    url = f"{deployment.api}/api/v1/dead-letters/{letter}/body"
    return httpx.get(url, headers=ledger.project.headers).content


def _post(deployment: Deployment, ledger: Ledger, path: str) -> httpx.Response:
    return httpx.post(deployment.api + path, headers=ledger.project.headers)
