"""What the compactor is made of."""

from __future__ import annotations

import asyncio
import mmap
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pyarrow as pa

from agenttrace_core.errors import ConfigurationError
from agenttrace_core.model.retention import Retention, TierAges, Tiering
from agenttrace_core.ports.metrics import Meter
from agenttrace_core.ports.storage import TieredObjects
from agenttrace_core.services.compact import CompactConfig, CompactService
from agenttrace_core.services.tiers import PayloadTiers
from agenttrace_server.composition import Opened
from agenttrace_server.composition_meter import FileMeter, shown
from agenttrace_server.composition_place import Place
from agenttrace_server.settings import Settings
from agenttrace_server.tuning import give_back_freed_memory


async def run_compact(settings: Settings, place: Place) -> None:
    """Merge small files and delete what nothing needs, until told to stop.

    A merge that is cut short leaves objects that nobody names; they are collected later.
    """
    async with AsyncExitStack() as stack:
        opened = Opened(settings, stack)
        meter = FileMeter("compact")
        is_one_of_many = opened.follows_queue or not place.supervised
        service = CompactService(
            catalog=await opened.catalog(),
            storage=await opened.storage(),
            config=compact_config(settings),
            news=await opened.news(),
            open_sink=lambda: FileSink(settings.data),
            holder=place.name(settings) if is_one_of_many else None,
            tiers=payload_tiers(settings, await opened.tiers(), meter),
            meter=meter,
        )
        place.on_ready()
        async with shown(meter, "compact", settings, place, alone=opened.follows_queue and not place.supervised):
            merging = asyncio.create_task(service.run())
            stopping = asyncio.create_task(place.stop.wait())
            await asyncio.wait({merging, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if merging.done():
                await merging
            merging.cancel()
            await asyncio.gather(merging, return_exceptions=True)


def compact_config(settings: Settings) -> CompactConfig:
    """Return the compactor's sizes and times."""
    compact, retention = settings.compact, settings.retention
    return CompactConfig(
        fan_in=compact.fan_in,
        max_file_bytes=compact.max_file_bytes,
        settle_s=compact.settle,
        grace_s=compact.grace,
        interval_s=compact.interval,
        retention=Retention(retention.expire_after, {p.project: p.expire_after for p in retention.projects}),
    )


def payload_tiers(settings: Settings, storage: TieredObjects | None, meter: Meter) -> PayloadTiers | None:
    """Return what moves payloads by age; None if nobody asked for it.

    Raises:
        ConfigurationError: the storage has no tiers.
    """
    asked = settings.retention.tiers
    if not asked.enabled:
        return None
    if storage is None:
        raise ConfigurationError("retention.tiers.enabled: this storage has no tiers; one on S3 has")
    ages = TierAges(asked.infrequent_after, asked.glacier_after, asked.deep_archive_after)
    projects = {
        own.project: TierAges(
            ages.infrequent_s if own.infrequent_after is None else own.infrequent_after,
            ages.glacier_s if own.glacier_after is None else own.glacier_after,
            ages.deep_archive_s if own.deep_archive_after is None else own.deep_archive_after,
        )
        for own in asked.projects
    }
    return PayloadTiers(storage, Tiering(ages, projects), meter=meter)


class FileSink:
    """A merged object that grows in a file, because it may be larger than the memory that there is for it.

    The file has no name (``O_TMPFILE`` where there is such a thing), so that a kill leaves nothing.

    Args:
        folder: on whose disk it grows.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by finish
        self.stream: pa.NativeFile = pa.PythonFile(self._file, "w")

    def finish(self) -> pa.Buffer:
        """Return what was written, mapped; the file goes when the buffer does.

        All of it is going to be read, and is this process's memory then. What the merge needed no longer should be.
        """
        give_back_freed_memory()
        self.stream.flush()
        self._file.flush()
        data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()
        return pa.py_buffer(data)
