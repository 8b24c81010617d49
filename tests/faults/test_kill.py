"""kill -9 of a real writer and a real compactor, at each of their steps and at any moment.

If these fail, a power button loses or doubles spans.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.faults.deployment import append
from tests.faults.spans import SpanSpec, now_ns, request
from tests.faults.test_pipeline import COMPACTOR_STEPS, WRITER_STEPS, Sent, check

pytestmark = pytest.mark.anyio

_WORK = """
import os, signal, sys
from pathlib import Path
import anyio
from agenttrace_core.services.compact import CompactConfig
from agenttrace_core.services.write import WriteConfig
from tests.faults.deployment import compact_all, write_all

def failpoint(name):
    if name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    folder = Path(sys.argv[1])
    if sys.argv[2] == "write":
        config = WriteConfig(flush_bytes=4_000, chunk_bytes=1_000, chunk_interval_s=0.0)
        await write_all(folder, config=config, failpoint=failpoint)
    else:
        await compact_all(folder, CompactConfig(fan_in=3, piece_rows=8, grace_s=0.0), failpoint)

anyio.run(main)
"""


def start(folder: Path, part: str, step: str = "") -> subprocess.Popen[bytes]:
    """Start a writer or compactor in a process of its own, which kills itself when it reaches ``step``."""
    return subprocess.Popen([sys.executable, "-c", _WORK, str(folder), part, step], stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes], *, expected: int) -> None:
    _, errors = process.communicate(timeout=200)
    assert process.returncode == expected, errors.decode()


async def send(folder: Path, sent: Sent, rng: random.Random, requests: int) -> None:
    """Append requests of new spans and of later versions of one trace, and note what must be there."""
    for _ in range(requests):
        start_ns = now_ns() + rng.randint(0, 10**6)
        specs = [SpanSpec(rng.randbytes(15) + b"\1", rng.randbytes(7) + b"\1", start_ns, 0, tokens=1) for _ in range(4)]
        later = [spec.ended(start_ns + 9, tokens=3) for spec in specs[:2]]
        sent.add("default", [*specs, *later])
        await append(folder, request(*specs), request(*later), request(*specs))


@pytest.mark.parametrize("step", WRITER_STEPS)
async def test_a_writer_killed_at_a_step_is_followed_by_one_that_loses_and_doubles_nothing(
    tmp_path: Path, step: str
) -> None:
    sent = Sent()
    await send(tmp_path, sent, random.Random(step), 10)
    finish(start(tmp_path, "write", step), expected=-signal.SIGKILL)
    await send(tmp_path, sent, random.Random(step + "again"), 3)
    finish(start(tmp_path, "write"), expected=0)
    await check(tmp_path, sent)


@pytest.mark.parametrize("step", COMPACTOR_STEPS)
async def test_a_compactor_killed_at_a_step_leaves_every_span_once(tmp_path: Path, step: str) -> None:
    sent = Sent()
    for round_ in range(4):
        await send(tmp_path, sent, random.Random(f"{step}{round_}"), 3)
        finish(start(tmp_path, "write"), expected=0)
    finish(start(tmp_path, "compact", step), expected=-signal.SIGKILL)
    await check(tmp_path, sent)
    finish(start(tmp_path, "compact"), expected=0)
    await check(tmp_path, sent)


async def test_a_writer_killed_at_any_moment_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    rng = random.Random(1)
    sent = Sent()
    for _ in range(6):
        await send(tmp_path, sent, rng, 8)
        writer = start(tmp_path, "write")
        await anyio.sleep(rng.uniform(0.3, 1.2))
        writer.kill()
        writer.communicate()
    finish(start(tmp_path, "write"), expected=0)
    await check(tmp_path, sent)
