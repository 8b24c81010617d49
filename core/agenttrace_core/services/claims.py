"""Which files somebody is writing again, so that nobody else spends time on the same.

A claim is a lease whose name lists the files (``compact/ID+ID+…``). It saves work and decides nothing: who puts what in
whose place is the catalog's to say, in one transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import anyio

from agenttrace_core.errors import UnavailableError
from agenttrace_core.model.segment import SegmentFile
from agenttrace_core.ports.catalog import Leases

_log = logging.getLogger(__name__)

FILES = "compact/"
COLLECTOR = "collect"

_ID_LETTERS = 12
_RENEWALS = 3


class Claims:
    """The claims of one process.

    Args:
        leases: the catalog's.
        holder: names this process among all; without one nothing is claimed, and others' claims do not count.
        ttl_s: how long a claim outlives a process that was killed.
    """

    def __init__(self, leases: Leases, holder: str | None, *, ttl_s: float = 30.0) -> None:
        self._leases, self._holder, self._ttl_s = leases, holder, ttl_s
        self._asked_at, self._collects = float("-inf"), False

    async def of_others(self) -> set[str]:
        """Return the ``short_id`` of all files that others are at work on. Ask before you take the snapshot."""
        if self._holder is None:
            return set()
        held = await self._leases.leases(FILES)
        return {short for name, holder in held.items() if holder != self._holder for short in _named(name)}

    @asynccontextmanager
    async def on(self, files: Sequence[SegmentFile]) -> AsyncGenerator[bool]:
        """Claim files for the length of a block. Yields False if somebody else was quicker."""
        if self._holder is None:
            yield True
            return
        name = FILES + "+".join(sorted(short_id(file.id) for file in files))
        is_ours = await self._leases.lease(name, self._holder, ttl_s=self._ttl_s)
        if not is_ours:
            yield False
            return
        try:
            # Two who choose at the same moment may choose sets that overlap; both see it here.
            if not _named(name).isdisjoint(await self.of_others()):
                yield False
                return
            failure: Exception | None = None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._renew, name, self._holder)
                try:
                    yield True
                except Exception as error:  # noqa: BLE001 - to be raised as it is, and not as one of a group
                    failure = error
                tasks.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            with suppress(UnavailableError), anyio.CancelScope(shield=True):
                await self._leases.release(name, self._holder)

    async def is_collector(self) -> bool:
        """Whether it is this process that deletes what nobody needs any more; one of all does."""
        if self._holder is None:
            return True
        if time.monotonic() - self._asked_at > self._ttl_s / _RENEWALS:
            self._asked_at = time.monotonic()
            self._collects = await self._leases.lease(COLLECTOR, self._holder, ttl_s=self._ttl_s)
        return self._collects

    async def _renew(self, name: str, holder: str) -> None:
        while True:
            await anyio.sleep(self._ttl_s / _RENEWALS)
            try:
                await self._leases.lease(name, holder, ttl_s=self._ttl_s)
            except UnavailableError as error:
                _log.warning("a claim could not be renewed", extra={"error": str(error)})


def short_id(file_id: UUID) -> str:
    """Return what claims call a file."""
    return file_id.hex[:_ID_LETTERS]


def _named(claim: str) -> set[str]:
    return set(claim.removeprefix(FILES).split("+"))
