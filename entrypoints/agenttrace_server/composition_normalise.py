"""What runs newer rules over stored spans is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from agenttrace_core.services.normalise import NormaliseService, Progress, Wanted
from agenttrace_server.composition import Opened
from agenttrace_server.composition_compact import FileSink
from agenttrace_server.composition_place import Place
from agenttrace_server.composition_prices import pricing_of
from agenttrace_server.settings import Settings


async def run_normalise(settings: Settings, wanted: Wanted, tell: Callable[[Progress], None]) -> Progress:
    """Write the files again that are wanted and were made by older rules, beside a server or without one."""
    async with AsyncExitStack() as stack:
        opened = Opened(settings, stack)
        pricing = pricing_of(settings)
        pricing.load()
        service = NormaliseService(
            catalog=await opened.catalog(),
            storage=await opened.storage(),
            pricing=pricing,
            open_sink=lambda: FileSink(settings.data),
            holder=Place().name(settings),
        )
        return await service.run(wanted, tell)
