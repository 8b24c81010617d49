"""The deletion of stored bodies that nothing will read any more.

A writer deletes the bodies of the records that it has committed. Some are left: where it was killed between the
two, and where a door put a body and could not append the record. Nothing names those.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import anyio

from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.catalog import WriterMemory
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.stored_records import PREFIX

_log = logging.getLogger(__name__)


class Sweep:
    """Finds stored bodies that were left. Several may run: each knows by itself when one is left.

    A body is appended within seconds of its being put, or never. So once it has been seen for ``quiet_s``, the record
    that names it, if there is one, lies below the queue's ends; and once the watermarks have reached these,
    it is committed. No clock but this process's own is asked.

    Args:
        queue: what records are in.
        catalog: says what is committed.
        storage: where the bodies are.
        quiet_s: seconds that a body must have been seen.
        interval_s: seconds between two looks.
        meter: is told what was swept.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        queue: SpanQueue,
        catalog: WriterMemory,
        storage: ObjectStorage,
        *,
        quiet_s: float = 3600.0,
        interval_s: float = 600.0,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._catalog, self._storage = queue, catalog, storage
        self._quiet_s, self._interval_s = quiet_s, interval_s
        self._meter: Meter = meter or NoMeter()
        self._clock = clock
        self._first_seen: dict[str, float] = {}
        self._ends: dict[str, Mapping[int, int]] = {}

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            try:
                await self.sweep()
            except UnavailableError as error:
                _log.warning("cannot look for stored bodies that were left", extra={"error": str(error)})
            await anyio.sleep(self._interval_s)

    async def sweep(self) -> int:
        """Delete what is known to be left by now. Return how many."""
        now = self._clock()
        there = [info.key async for info in self._storage.list(PREFIX)]
        self._first_seen = {key: self._first_seen.get(key, now) for key in there}
        self._ends = {key: ends for key, ends in self._ends.items() if key in self._first_seen}
        quiet = [key for key, seen in self._first_seen.items() if now - seen >= self._quiet_s and key not in self._ends]
        if quiet:
            self._ends |= dict.fromkeys(quiet, await self._queue.end_offsets())
        _, watermarks = await self._catalog.watermarks()
        left = [key for key, ends in self._ends.items() if _reached(watermarks, ends)]
        for key in left:
            await self._storage.delete(key)
        if left:
            _log.info("stored bodies were left; they are deleted", extra={"count": len(left)})
            self._meter.count("swept_bodies_total", len(left))
        return len(left)


def _reached(watermarks: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    return all(watermarks.get(partition, 0) >= end for partition, end in ends.items())
