"""What a door refused, on its way to the dead letters.

Refused input is queued like what is accepted, as records of ``Signal.REFUSED``, and becomes a
dead letter when the writer meets it. It never delays or fails an acknowledgement: there is a
bound on how much of it is kept, and beyond that it is only counted.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass

import anyio

from agenttrace_core.errors import AgentTraceError, InvalidInputError
from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_core.services.admission import IngestLimits
from agenttrace_core.services.appender import Appender
from agenttrace_core.wire.status import Encoding

_WAITING_RECORDS = 256
_WAITING_BYTES = 64 << 20
_PROJECTS_REMEMBERED = 1024
_HEAD_COST = 512
LONGEST_REASON = 2000
"""Characters of a reason that are kept."""


@dataclass(frozen=True, slots=True)
class RefusedInput:
    """Something that was refused. ``spans`` counts them, 0 if unknown.

    ``encoding`` is that of ``body``, which is empty if it was not kept.
    """

    project: str
    signal: Signal
    received_ns: int
    reason: str
    spans: int
    encoding: Encoding
    body: bytes

    def to_record(self) -> tuple[Headers, bytes]:
        """Return the queue's record of it: a line of JSON, then the body."""
        head = {
            "project": self.project, "signal": str(self.signal), "received_ns": self.received_ns,
            "reason": self.reason[:LONGEST_REASON], "spans": self.spans, "encoding": str(self.encoding),
        }  # fmt: skip
        body = json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.body
        return Headers(self.project, Signal.REFUSED, self.received_ns), body

    @classmethod
    def from_record(cls, body: bytes) -> RefusedInput:
        """Read what ``to_record`` made.

        Raises:
            InvalidInputError: the record is something else.
        """
        head, _, rest = body.partition(b"\n")
        try:
            fields = json.loads(head)
            return cls(
                str(fields["project"]), Signal(fields["signal"]), _whole(fields["received_ns"]), str(fields["reason"]),
                _whole(fields["spans"]), Encoding(fields["encoding"]), rest,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError("the record does not hold refused input") from error


class Refusals:
    """Appends refusals behind the doors' back. ``run`` must be running for anything to be kept.

    Args:
        appender: where they go.
        limits: what may be kept of each project.
    """

    def __init__(self, appender: Appender, limits: IngestLimits) -> None:
        self._appender = appender
        self._limits = limits
        self._waiting_bytes = 0
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._waiting: deque[RefusedInput] = deque()
        self._closed = False
        self._wake = anyio.Event()

    def add(self, refusal: RefusedInput) -> bool:
        """Keep a refusal if there is room, and say whether it will be kept. Never waits."""
        size = len(refusal.body) + _HEAD_COST
        is_full = len(self._waiting) == _WAITING_RECORDS or self._waiting_bytes + size > _WAITING_BYTES
        if self._closed or is_full or not self._may_keep(refusal.project, size):
            return False
        self._waiting.append(refusal)
        self._waiting_bytes += size
        self._wake.set()
        return True

    async def run(self) -> None:
        """Append what is added, until ``close`` and all of it is appended."""
        while True:
            while self._waiting:
                await self._append(self._waiting.popleft())
            if self._closed:
                return
            self._wake = anyio.Event()
            await self._wake.wait()

    def close(self) -> None:
        """Take no more; ``run`` ends when it has appended the rest."""
        self._closed = True
        self._wake.set()

    async def _append(self, refusal: RefusedInput) -> None:
        try:
            # A failure is not told: what is refused has no claim to be kept at any price.
            with suppress(AgentTraceError):
                await self._appender.append(*refusal.to_record())
        finally:
            self._waiting_bytes -= len(refusal.body) + _HEAD_COST

    def _may_keep(self, project: str, size: int) -> bool:
        """Take ``size`` from the project's bucket of bytes."""
        now = time.monotonic()
        left, at = self._buckets.pop(project, (float(self._limits.refused_burst_bytes), now))
        left = min(self._limits.refused_burst_bytes, left + (now - at) * self._limits.refused_bytes_per_s)
        granted = left >= size
        self._buckets[project] = (left - size if granted else left, now)
        if len(self._buckets) > _PROJECTS_REMEMBERED:
            self._buckets.popitem(last=False)
        return granted


def _whole(value: object) -> int:
    """Return a whole number of 64 bits.

    Raises:
        TypeError: it is something else.
    """
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise TypeError(f"{value!r:.40} is no whole number of 64 bits")
    return value
