"""Where the live table lies: in shared memory where there is enough of it, else in the data folder.

It is a cache of what the log holds durably, written and removed again within seconds. On a disk it
would cost a third as much writing as the log itself, for nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder below is this user's alone, which is checked


def live_folder(data: Path, *, needed_bytes: int, shared: Path = SHARED_MEMORY) -> Path:
    """Return the folder of ``data``'s live table, the same for every process of this user.

    Args:
        data: the data folder.
        needed_bytes: what the live table may hold.
        shared: a folder in memory, if there is one.
    """
    inside = data / "live"
    try:
        # The whole of it counts, not what is free now: the processes must agree, whenever they start.
        size = os.statvfs(shared)
        if size.f_blocks * size.f_frsize < 4 * needed_bytes:
            return inside
        name = hashlib.sha256(os.fsencode(data.absolute())).hexdigest()[:16]
        folder = shared / f"agenttrace-{os.getuid()}-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return inside
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if is_ours else inside


def remove_live_folder(data: Path, *, needed_bytes: int, shared: Path = SHARED_MEMORY) -> None:
    """Give the memory back when no writer runs: the next one publishes anew what is not in files.

    Args:
        data: as for ``live_folder``, like the others.
        needed_bytes: what the live table may hold.
        shared: a folder in memory, if there is one.
    """
    shutil.rmtree(live_folder(data, needed_bytes=needed_bytes, shared=shared), ignore_errors=True)
