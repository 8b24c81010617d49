"""What a part of the server does about its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
from pathlib import Path
from agenttrace_server.tuning import give_back_freed_memory, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

keep_freed_memory()
blocks = [bytearray(b"x") * (1 << 20) for _ in range(200)]
del blocks[:-1]  # the last one lies behind the others, so that none of them is at the end
kept = resident()
give_back_freed_memory()
print(kept - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_kept_for_the_next_batch_can_be_given_back() -> None:
    """Lost: a merge's working memory is held while its result is hashed and stored, which is as much again."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) > 100
