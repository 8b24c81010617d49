"""Several writers on one queue: each writes the partitions that it has a lease of, and they share them fairly.

A writer announces itself by a lease (``writer/ID``) and has another for each of its partitions (``write/N``). Whoever
has more than its share writes what it has read and gives the surplus back; whoever has less takes what is free.
Leases only keep work from being done twice. A writer that was suspended past the end of its own finds out at its next
commit, which the catalog refuses, because the watermark has moved; it forgets what it holds, and joins again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import anyio

from agenttrace_core.errors import UnavailableError, WatermarkConflictError
from agenttrace_core.ports.catalog import Leases
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.services.write import WriteService

_log = logging.getLogger(__name__)

MEMBERS = "writer/"
PARTITIONS = "write/"

_LOOKS, _RENEWALS = 10, 3
"""Times that a writer looks about, and renews its own, while a lease runs."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a writer should do: give back some of its partitions, or take some that nobody has."""

    release: Sequence[int] = ()
    take: Sequence[int] = ()


def fair_share(me: str, members: Collection[str], holders: Mapping[int, str], partitions: Collection[int]) -> Share:
    """Return what ``me`` should change, given who there is and who holds what.

    Everybody comes to the same distribution: shares differ by one at the most, and the larger ones are theirs
    who have most already, so that little moves.
    """
    held = {member: sorted(p for p in partitions if holders.get(p) == member) for member in {me, *members}}
    order = sorted(held, key=lambda member: (-len(held[member]), member))
    least, larger = divmod(len(partitions), len(order))
    quota = least + (order.index(me) < larger)
    mine = held[me]
    free = sorted(set(partitions) - holders.keys())
    return Share(mine[quota:], free[: max(0, quota - len(mine))])


async def _nothing() -> None:
    pass


class SharedWriter:
    """Runs a ``WriteService`` on what is this process's share of the partitions, whatever that is by now.

    Args:
        queue: whose partitions they are.
        leases: the catalog's.
        make_writer: returns a writer, not yet running, for some partitions.
        holder: names this process among all. One that is started again under the same name has its leases back
            at once: give it the same only where the one before is dead for sure.
        whole: take all partitions, and wait until they are free; for a server that is complete in itself.
        ttl_s: how long a lease runs, and about how long partitions lie idle whose writer was killed.
        meter: what is told while it works.
    """

    def __init__(
        self,
        *,
        queue: SpanQueue,
        leases: Leases,
        make_writer: Callable[[Collection[int]], WriteService],
        holder: str,
        whole: bool = False,
        ttl_s: float = 10.0,
        meter: Meter | None = None,
    ) -> None:
        self._queue, self._leases = queue, leases
        self._make_writer = make_writer
        self._holder, self._whole, self._ttl_s = holder, whole, ttl_s
        self._meter: Meter = meter or NoMeter()
        # What we have leases of, and what of that we should write; what is written now.
        self._held: set[int] = set()
        self._wanted: frozenset[int] = frozenset()
        self._writing: frozenset[int] = frozenset()
        self._writer: WriteService | None = None
        self._cut = anyio.CancelScope()
        self._ended = anyio.Event()
        self._renewed_at = float("-inf")
        self._stopping = self._is_settled = self._is_ready = False
        self._complaint = ""

    @property
    def partitions(self) -> Collection[int]:
        """Those that are being written now."""
        return self._writing

    async def run(self, on_ready: Callable[[], Awaitable[None]] = _nothing) -> None:
        """Share in the work until cancelled, or until ``drain`` is called and what was read is in files.

        ``on_ready`` is awaited once there is a share, be it of nothing.

        Raises:
            ConfigurationError: the queue is not the one that the catalog was fed from, or has lost records.
        """

        async def tell_ready() -> None:
            if not self._is_ready:
                self._is_ready = True
                await on_ready()

        async with anyio.create_task_group() as tasks:
            while not (self._stopping and self._writer is None):
                await self._tend()
                if self._writer is None and self._wanted and not self._stopping:
                    self._writing, self._ended, self._cut = self._wanted, anyio.Event(), anyio.CancelScope()
                    self._writer = self._make_writer(self._writing)
                    tasks.start_soon(self._write, self._writer, tell_ready)
                elif self._writer is not None and (self._writing != self._wanted or self._stopping):
                    self._end(self._writer)
                elif self._writer is None and self._is_settled and not self._whole:
                    await tell_ready()  # with nothing to write
                await self._pause()
        await self._leave()

    def drain(self) -> None:
        """Ask ``run`` to write what has been read, or all that there is if it has the whole; and to return."""
        self._stopping = True

    def _end(self, writer: WriteService) -> None:
        if self._whole and self._stopping:
            writer.drain()
        else:
            writer.stop()

    async def _write(self, writer: WriteService, tell_ready: Callable[[], Awaitable[None]]) -> None:
        _log.info("writing", extra={"partitions": sorted(self._writing)})
        self._meter.gauge("partitions", len(self._writing))
        try:
            with self._cut:
                await writer.run(tell_ready)
        except* WatermarkConflictError as conflict:
            _log.warning("another writer has committed; beginning anew", extra={"error": str(conflict.exceptions[0])})
            self._meter.count("conflicts_total")
            self._renewed_at = float("-inf")
            await anyio.sleep(self._ttl_s / _LOOKS)
        self._writer, self._writing = None, frozenset()
        self._meter.gauge("partitions", 0)
        self._ended.set()

    async def _pause(self) -> None:
        with anyio.move_on_after(self._ttl_s / _LOOKS):
            if self._writer is None:
                await anyio.sleep_forever()
            await self._ended.wait()

    async def _tend(self) -> None:
        """Renew what we have, give back and take; while the catalog or the queue is away, all stays as it is."""
        try:
            if time.monotonic() - self._renewed_at > self._ttl_s / _RENEWALS:
                await self._renew()
            await self._rebalance()
        except UnavailableError as error:
            self._complain(f"cannot look after the leases of partitions: {error}")

    async def _renew(self) -> None:
        begun = time.monotonic()
        if not self._whole:
            await self._lease(MEMBERS + self._holder)
        for partition in sorted(self._held):
            if not await self._lease(f"{PARTITIONS}{partition}"):
                self._lose(partition)
        self._renewed_at = begun

    async def _rebalance(self) -> None:
        partitions = (await self._queue.end_offsets()).keys()
        holders = await self._holders()
        for partition in partitions & holders.keys():
            if holders[partition] == self._holder:
                self._held.add(partition)
            else:
                self._lose(partition)
        share = await self._share(holders, partitions)
        for partition in share.take:
            if await self._lease(f"{PARTITIONS}{partition}"):
                self._held.add(partition)
        self._wanted = frozenset(self._held - set(share.release))
        if self._whole and self._wanted != frozenset(partitions):
            others = sorted({holders[p] for p in partitions - self._held if p in holders})
            self._complain(f"waiting for partitions that other writers hold: {', '.join(others)}")
            self._wanted = frozenset()
            return
        if self._writer is None:
            await self._release(share.release)
        self._is_settled, self._complaint = True, ""

    async def _share(self, holders: Mapping[int, str], partitions: Collection[int]) -> Share:
        if self._stopping:
            return Share()
        if self._whole:
            return Share((), sorted(set(partitions) - holders.keys()))
        members = set((await self._leases.leases(MEMBERS)).values()) | {self._holder}
        return fair_share(self._holder, members, holders, partitions)

    async def _holders(self) -> dict[int, str]:
        held = await self._leases.leases(PARTITIONS)
        return {int(name.removeprefix(PARTITIONS)): holder for name, holder in held.items()}

    def _lose(self, partition: int) -> None:
        """Somebody else has it. What we have read of it is theirs to write."""
        self._held.discard(partition)
        self._wanted -= {partition}
        if partition in self._writing:
            _log.warning("lost a partition to another writer", extra={"partition": partition})
            self._cut.cancel()

    async def _release(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._held.discard(partition)
            await self._leases.release(f"{PARTITIONS}{partition}", self._holder)

    async def _leave(self) -> None:
        try:
            await self._release(sorted(self._held))
            await self._leases.release(MEMBERS + self._holder, self._holder)
        except UnavailableError as error:
            _log.warning("leases were not given back, and run out by themselves", extra={"error": str(error)})

    async def _lease(self, name: str) -> bool:
        return await self._leases.lease(name, self._holder, ttl_s=self._ttl_s)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            _log.warning(text)
        self._complaint = text
