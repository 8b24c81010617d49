"""The disk is full on which a process keeps copies of what is on MinIO."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.scaled.checks import check, watched
from tests.faults.scaled.deployment import Deployment
from tests.faults.scaled.form import SEEDS, short_or_long
from tests.faults.scaled.load import loaded

pytestmark = [pytest.mark.timeout(short_or_long(300, 900)), pytest.mark.parametrize("seed", SEEDS)]

_FULL = 'mount -t tmpfs -o size=64k tmpfs "$0" && { head -c 1M /dev/zero > "$0/filler" 2>/dev/null; exec "$@"; }'
"""A disk of 64 KiB that this process alone sees, and that somebody else has filled."""


def _unshare() -> Sequence[str]:
    """Return how a program is run that may mount disks for itself."""
    for command in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("not run: unshare(1) may not mount anything here; run as root, or allow user namespaces")


def test_the_disk_of_the_copies_is_full(deployment: Deployment, tmp_path: Path, seed: int) -> None:
    """Lost: answers, or what writers must look up, where there is no room for a copy, as if there were no storage."""
    disk = tmp_path / "disk"
    disk.mkdir()
    for part in (deployment.query, deployment.writers[0]):
        part.stop()
        within = [*_unshare(), "sh", "-c", _FULL, str(disk)]
        part.launch(within=within, AGENTTRACE_COPIES__FOLDER=str(disk / "copies"))
        part.wait_ready()
        seen = os.statvfs(f"/proc/{part.pid}/root{disk}")
        assert seen.f_blocks
        assert not seen.f_bavail
    with loaded(deployment, seed) as ledger, watched(deployment, ledger):
        time.sleep(short_or_long(4, 60))
    check(deployment, ledger)
