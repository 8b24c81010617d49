"""What the writer is made of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import replace

import structlog

from agenttrace_adapters.memory import MemoryLiveTable
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.queue import Retaining, SpanQueue
from agenttrace_core.services.news import CatalogNews
from agenttrace_core.services.queue_retention import watch_retention
from agenttrace_core.services.share import SharedWriter
from agenttrace_core.services.sweep import Sweep
from agenttrace_core.services.write import WriteConfig, WriteService
from agenttrace_server.composition import Opened
from agenttrace_server.composition_meter import FileMeter, beside, shown
from agenttrace_server.composition_place import Place
from agenttrace_server.composition_prices import pricing_of
from agenttrace_server.datafolder import writer_lock
from agenttrace_server.settings import Settings

_DRAIN_S = 25.0
_BURIAL_S = 5.0
"""How long the lock of a writer that was killed may still be held."""
_GATHER_S, _CHUNKS_A_FILE = 1.0, 10
"""How long a chunk gathers that nobody waits for: a second, or so often before a file is due."""


async def run_write(settings: Settings, place: Place) -> None:
    """Make acknowledged spans readable and write them into files, until told to stop; then write the rest.

    Where the queue is shared by machines, writers share its partitions, and nobody reads what one would publish
    on its own machine. Under ``agenttrace up`` one writes them all, and publishes.

    Raises:
        ConfigurationError: another writer is at work on the folder, or the queue lost records.
        WatermarkConflictError: another writer has committed.
    """
    async with AsyncExitStack() as stack:
        opened = Opened(settings, stack)
        is_one_of_many = opened.follows_queue and not place.supervised
        if not is_one_of_many:
            lock = stack.enter_context(writer_lock(settings.data))
            await asyncio.to_thread(lock.acquire, wait_s=_BURIAL_S)
        meter = FileMeter("write")
        pricing = pricing_of(settings)
        queue, catalog, storage = await opened.queue(), await opened.catalog(), await opened.storage()
        live = MemoryLiveTable() if is_one_of_many else await opened.live()
        index, events = await opened.index(), await opened.events()
        news = CatalogNews(events if events.capabilities.shared else None)

        def make_writer(partitions: Collection[int] | None = None) -> WriteService:
            return WriteService(
                queue=queue,
                catalog=catalog,
                storage=storage,
                live=live,
                index=index,
                config=write_config(settings, is_followed=is_one_of_many),
                pricing=pricing,
                partitions=partitions,
                news=news,
                is_followed=is_one_of_many,
                meter=meter,
            )

        service: WriteService | SharedWriter
        if opened.follows_queue:
            service = SharedWriter(
                queue=queue,
                leases=catalog,
                make_writer=make_writer,
                holder=place.name(settings),
                whole=not is_one_of_many,
                ttl_s=settings.write.lease,
                meter=meter,
            )
        else:
            service = make_writer()

        async def tell_ready() -> None:
            place.on_ready()

        # While the rest starts: the first call that costs something should not have to wait for its price.
        loading = asyncio.to_thread(pricing.load)
        sweep = Sweep(queue, catalog, storage, meter=meter)
        await stack.enter_async_context(shown(meter, "write", settings, place, alone=is_one_of_many))
        async with beside(loading), beside(sweep.run()), beside(_watched(queue, catalog, meter)):
            await _until_drained(asyncio.create_task(service.run(tell_ready)), service, place)


async def _watched(queue: SpanQueue, catalog: MetadataStore, meter: FileMeter) -> None:
    if isinstance(queue, Retaining):
        await watch_retention(queue, catalog, meter)


def write_config(settings: Settings, *, is_followed: bool = False) -> WriteConfig:
    """Return the writer's sizes and times.

    A chunk costs as much as a thousand spans, whatever is in it. Where readers follow the queue by themselves, nobody
    waits for one but the file, so that it may gather.
    """
    config = WriteConfig(flush_bytes=settings.write.flush_bytes, flush_age_s=settings.write.flush_age)
    if not is_followed:
        return config
    gather_s = min(_GATHER_S, settings.write.flush_age / _CHUNKS_A_FILE)
    return replace(config, chunk_interval_s=gather_s, poll_s=gather_s)


async def _until_drained(writing: asyncio.Task[None], service: WriteService | SharedWriter, place: Place) -> None:
    stopping = asyncio.create_task(place.stop.wait())
    try:
        await asyncio.wait({writing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not writing.done():
            service.drain()
            await asyncio.wait({writing}, timeout=_DRAIN_S)
        if not writing.done():
            # Nothing is lost: what is not in files is in the queue, and is read from there next time.
            structlog.get_logger().warning("stopping before all is in files", after_s=_DRAIN_S)
            writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
    finally:
        stopping.cancel()
