"""What processes cost, as the kernel tells it: CPU, memory and bytes written, of a whole tree of processes.

Linux only: it reads ``/proc`` (man 5 proc).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process has used since it started: CPU seconds, and bytes that it made the disk write."""

    name: str
    cpu_s: float
    written_bytes: int


def tree(root: int) -> list[int]:
    """Return the ids of a process and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children.get(pid, [])
    return found


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process: shared pages are divided among those who share them."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def usage(pid: int, name_of: Callable[[list[str]], str]) -> Usage | None:
    """Return what a process has used, its name made from its command line; None if it is gone."""
    stat = _stat(pid)
    if stat is None:
        return None
    with contextlib.suppress(OSError):
        command = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        counters = dict(line.split(": ") for line in (_PROC / str(pid) / "io").read_text().splitlines())
        # What was deleted before the kernel wrote it was counted, and is taken back as cancelled.
        written = int(counters["write_bytes"]) - int(counters["cancelled_write_bytes"])
        # utime and stime are the 14th and 15th fields; the split list begins at the third.
        return Usage(name_of(command), (int(stat[11]) + int(stat[12])) / _TICKS, written)
    return None


def cpu_by_name(roots: Sequence[int], name_of: Callable[[list[str]], str]) -> dict[str, float]:
    """Return the CPU seconds that trees of processes have used since they started, by name of process."""
    used: dict[str, float] = {}
    for pid in (pid for root in roots for pid in tree(root)):
        if (found := usage(pid, name_of)) is not None:
            used[found.name] = used.get(found.name, 0.0) + found.cpu_s
    return used


def machine_busy_s() -> float:
    """Return the CPU seconds that the whole machine has been busy since it started, its kernel included."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / _TICKS


def _stat(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/PID/stat`` from the third on: those after the command's name."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


@dataclass(slots=True)
class Meter:
    """What trees of processes used while they were watched.

    ``pss`` holds (seconds since the start, bytes) about once a second. ``cpu_s`` and ``written_bytes``
    are by process name; a process that was replaced is counted with its successor.
    """

    roots: Sequence[int]
    name_of: Callable[[list[str]], str]
    pss: list[tuple[float, int]] = field(default_factory=list)
    pss_by_name: dict[str, int] = field(default_factory=dict)
    machine_cpu_s: float = 0.0
    _first: dict[int, Usage] = field(default_factory=dict)
    _last: dict[int, Usage] = field(default_factory=dict)

    @property
    def cpu_s(self) -> dict[str, float]:
        """CPU seconds used by each name of process."""
        return self._differences(lambda used: used.cpu_s)

    @property
    def written_bytes(self) -> dict[str, float]:
        """Bytes that each name of process made the disk write."""
        return self._differences(lambda used: float(used.written_bytes))

    @property
    def peak_pss(self) -> int:
        """The greatest sum of PSS that was seen, in bytes."""
        return max((size for _, size in self.pss), default=0)

    def pss_slope(self) -> float:
        """Return the growth of memory in bytes a second: the mean of the last third less that of the middle one."""
        third = len(self.pss) // 3
        if not third:
            return 0.0
        middle, last = self.pss[third : 2 * third], self.pss[-third:]
        rise = sum(size for _, size in last) / third - sum(size for _, size in middle) / third
        return rise / (last[0][0] - middle[0][0])

    def sample(self, since_s: float) -> None:
        """Read every process of the trees once."""
        sizes: dict[str, int] = {}
        for pid in (pid for root in self.roots for pid in tree(root)):
            used = usage(pid, self.name_of)
            if used is None:
                continue
            if pid not in self._first:
                self._first[pid] = used if not self.pss else Usage(used.name, 0.0, 0)
            self._last[pid] = used
            sizes[used.name] = sizes.get(used.name, 0) + pss_bytes(pid)
        self.pss.append((since_s, sum(sizes.values())))
        for name, size in sizes.items():
            self.pss_by_name[name] = max(self.pss_by_name.get(name, 0), size)

    def _differences(self, of: Callable[[Usage], float]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for pid, last in self._last.items():
            sums[last.name] = sums.get(last.name, 0.0) + of(last) - of(self._first[pid])
        return sums


@contextlib.asynccontextmanager
async def metered(
    roots: Sequence[int], name_of: Callable[[list[str]], str], every_s: float = 1.0
) -> AsyncIterator[Meter]:
    """Watch processes and their descendants until the block ends."""
    meter = Meter(roots, name_of)
    busy, begun = machine_busy_s(), time.monotonic()

    async def watch() -> None:
        while True:
            await asyncio.to_thread(meter.sample, time.monotonic() - begun)
            await asyncio.sleep(every_s)

    await asyncio.to_thread(meter.sample, 0.0)
    task = asyncio.create_task(watch())
    try:
        yield meter
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(meter.sample, time.monotonic() - begun)
        meter.machine_cpu_s = machine_busy_s() - busy
