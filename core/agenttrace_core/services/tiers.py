"""Payloads by age into tiers that cost less to keep. Light rows and all else stay where they are, and are searched."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agenttrace_core.errors import ArchivedError, ConfigurationError, NotFoundError
from agenttrace_core.model.retention import Tier, Tiering
from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot, StoredObject
from agenttrace_core.ports.metrics import Meter, NoMeter
from agenttrace_core.ports.storage import TieredObjects

_log = logging.getLogger(__name__)

_AT_ONCE = 20
_PAUSE_NS = 3_600_000_000_000
_MOVED_BY_RESTORE_DAYS = 2
_READ_FOR_DAYS = 7

LEAST_BYTES = 128 << 10
"""Shorter objects stay: the colder tiers count each object as at least so long."""


@dataclass(slots=True)
class PayloadTiers:
    """Moves the payloads of a snapshot's files, a few at a time.

    Args:
        storage: that has the tiers.
        tiering: which payload belongs where.
        least_bytes: of what is moved.
        meter: what is told of it.
    """

    storage: TieredObjects
    tiering: Tiering
    least_bytes: int = LEAST_BYTES
    meter: Meter = field(default_factory=NoMeter)
    _known: dict[str, Tier] = field(default_factory=dict)
    _not_before_ns: dict[str, int] = field(default_factory=dict)

    async def move_some(self, snapshot: Snapshot, now_ns: int) -> int:
        """Move some of the payloads that do not lie where they belong. Return how many were looked at.

        Raises:
            UnavailableError: the storage does not answer.
        """
        looked_at = 0
        for item, wanted in self._due(snapshot, now_ns):
            looked_at += 1
            await self._move(item, wanted, now_ns)
            if looked_at == _AT_ONCE:
                break
        return looked_at

    def _due(self, snapshot: Snapshot, now_ns: int) -> Iterator[tuple[StoredObject, Tier]]:
        payloads = {item.key: (file, item) for file in snapshot.files if (item := _payload(file)) is not None}
        for gone in self._known.keys() - payloads.keys():
            del self._known[gone]
        for key, (file, item) in payloads.items():
            wanted = self.tiering.tier(file.segments, now_ns)
            lies_there = self._known.get(key, Tier.STANDARD) is wanted
            if not lies_there and item.size >= self.least_bytes and self._not_before_ns.get(key, 0) <= now_ns:
                yield item, wanted

    async def _move(self, item: StoredObject, wanted: Tier, now_ns: int) -> None:
        order = list(Tier)
        try:
            lies_in = await self.storage.tier(item.key)
            # What was put into a colder one, by a rule of the bucket perhaps, stays there: warmer costs.
            if order.index(lies_in) < order.index(wanted):
                await self.storage.move(item.key, wanted)
                self.meter.count("moved_payloads_total")
            self._known[item.key] = wanted
        except ArchivedError:
            # From one archive to the next the way leads through a restore, which takes its time.
            await self.storage.restore(item.key, days=_MOVED_BY_RESTORE_DAYS, is_urgent=False)
            self._not_before_ns[item.key] = now_ns + _PAUSE_NS
        except NotFoundError:
            self._not_before_ns[item.key] = now_ns + _PAUSE_NS  # merged meanwhile, and deleted
        except ConfigurationError as error:
            self._not_before_ns[item.key] = now_ns + _PAUSE_NS
            _log.error(
                "payloads cannot be moved: see retention.tiers", extra={"tier": str(wanted), "error": str(error)}
            )


@asynccontextmanager
async def restoring(storage: TieredObjects | None) -> AsyncGenerator[None]:
    """Begin the restore of what somebody wants to read in the block, if it is archived, and tell of it.

    Raises:
        ArchivedError: it is; the message says that a restore is under way.
    """
    try:
        yield
    except ArchivedError as error:
        if storage is None:
            raise
        await storage.restore(error.key, days=_READ_FOR_DAYS, is_urgent=True)
        raise ArchivedError(
            "what was sent of this is archived by now: a restore is under way, which takes hours, or a day; after "
            f"that, it can be read for {_READ_FOR_DAYS} days",
            key=error.key,
        ) from error


def _payload(file: SegmentFile) -> StoredObject | None:
    return file.objects.get("payload") if file.kind is FileKind.SPANS else None
