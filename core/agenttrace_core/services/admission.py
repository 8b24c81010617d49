"""What a door asks before it takes a request: is there room for it?

Nothing here waits. A request for which there is no room is refused at once, with the seconds
after which to come again, because a sender that is kept waiting holds what makes the room scarce.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from agenttrace_core.errors import OverloadedError, UnavailableError
from agenttrace_core.ports.catalog import WriterMemory
from agenttrace_core.ports.limiter import RateLimiter
from agenttrace_core.ports.queue import SpanQueue

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 3


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Bounds on what a door takes, in bytes.

    ``max_backlog_bytes`` bounds what is acknowledged and not in files yet; ``max_in_flight_bytes``
    the bodies that one process holds; ``project_bytes_per_s`` and ``project_burst_bytes`` what one
    project may send (0: as much as it likes). ``refused_bytes_per_s`` and ``refused_burst_bytes``
    bound what is kept of a project's refused input, so that nobody fills a disk with rubbish.
    """

    max_backlog_bytes: int = 2 << 30
    max_in_flight_bytes: int = 256 << 20
    project_bytes_per_s: int = 0
    project_burst_bytes: int = 64 << 20
    refused_bytes_per_s: int = 1 << 20
    refused_burst_bytes: int = 64 << 20


async def backlog_bytes(queue: SpanQueue, memory: WriterMemory) -> int:
    """Return the bytes of ``queue`` that are not in files yet.

    Meaningful only of a queue whose capabilities say ``byte_offsets``.
    """
    _, watermarks = await memory.watermarks()
    ends = await queue.end_offsets()
    return sum(max(0, end - watermarks.get(partition, 0)) for partition, end in ends.items())


class Admission:
    """Keeps account of the bytes that a process holds, and of the backlog before the writer.

    Args:
        limits: the bounds.
        limiter: keeps the rate of each project, where ``limits`` sets one.
        stand_in: keeps it while ``limiter`` is away; without one, everybody may send then.
        bounds_backlog: whether the backlog can be seen. Where it cannot, it is the queue's to bound.
    """

    def __init__(
        self,
        limits: IngestLimits,
        limiter: RateLimiter | None = None,
        *,
        stand_in: RateLimiter | None = None,
        bounds_backlog: bool = True,
    ) -> None:
        self._limits = limits
        self._bounds_backlog = bounds_backlog
        self._limiter = limiter if limits.project_bytes_per_s else None
        self._stand_in = stand_in
        self._limits_alone = False
        self._in_flight = 0
        self._backlog = 0

    @property
    def in_flight(self) -> int:
        """Bytes of bodies that are being received or stored."""
        return self._in_flight

    @property
    def backlog(self) -> int:
        """Bytes that wait for the writer: as last seen, and what was stored since."""
        return self._backlog

    @property
    def limits_alone(self) -> bool:
        """Whether the limiter that processes share is away, so that this one keeps rates by itself."""
        return self._limits_alone

    def hold(self, size: int) -> None:
        """Account for ``size`` bytes more in memory; ``release`` them in the end.

        Raises:
            OverloadedError: there would be too many. Nothing is held of ``size`` then.
        """
        if self._in_flight + size > self._limits.max_in_flight_bytes and self._in_flight:
            raise OverloadedError(
                f"bodies of {self._limits.max_in_flight_bytes} bytes are being stored already; try again later"
            )
        self._in_flight += size

    def release(self, size: int) -> None:
        """Give back bytes that were held."""
        self._in_flight -= size

    @contextmanager
    def holding(self, size: int) -> Generator[None]:
        """Hold ``size`` bytes for the length of a block.

        Raises:
            OverloadedError: as of ``hold``.
        """
        self.hold(size)
        try:
            yield
        finally:
            self.release(size)

    async def admit(self, project: str, size: int) -> None:
        """Ask whether ``project`` may store ``size`` bytes now.

        Raises:
            OverloadedError: the backlog is full, or the project sends faster than it may.
        """
        if self._backlog + size > self._limits.max_backlog_bytes:
            raise OverloadedError(
                f"{self._backlog} bytes are waiting to be written, and at most {self._limits.max_backlog_bytes} may",
                retry_after_s=2,
            )
        if self._limiter is not None:
            await self._limit_rate(self._limiter, project, size)

    async def _limit_rate(self, limiter: RateLimiter, project: str, size: int) -> None:
        rate = self._limits.project_bytes_per_s
        try:
            wait_s = await self._take(limiter, project, size)
            self._say_alone(False)
        except UnavailableError as error:
            self._say_alone(True, str(error))
            wait_s = 0.0 if self._stand_in is None else await self._take(self._stand_in, project, size)
        if wait_s > 0:
            raise OverloadedError(
                f"project {project!r} sends more than {rate} bytes a second",
                retry_after_s=min(math.ceil(wait_s), _LONGEST_WAIT_S),
            )

    async def _take(self, limiter: RateLimiter, project: str, size: int) -> float:
        limits = self._limits
        return await limiter.take(
            f"ingest:{project}", size, per_second=limits.project_bytes_per_s, burst=limits.project_burst_bytes
        )

    def _say_alone(self, alone: bool, why: str = "") -> None:
        if alone and not self._limits_alone:
            _log.warning("this process limits projects by itself, without regard to others: %s", why)
        elif self._limits_alone and not alone:
            _log.warning("processes limit projects together again")
        self._limits_alone = alone

    def stored(self, size: int) -> None:
        """Count bytes that were appended since the backlog was last seen."""
        if self._bounds_backlog:
            self._backlog += size

    def seen_backlog(self, size: int) -> None:
        """Say what the backlog is, as read from the queue and the catalog."""
        self._backlog = size
