"""Check of the stored files: is every object there that the catalog names, as long as it was written?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

from agenttrace_core.errors import AgentTraceError
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.registry import make_adapter
from agenttrace_server.findings import Finding, Verdict
from agenttrace_server.settings import Settings

_SHOWN = 3


def files_finding(settings: Settings) -> Finding | None:
    """Compare the catalog with the storage; None where one of them is not there yet, or does not answer."""
    for url, scheme in ((settings.metadata, "sqlite:"), (settings.storage, "file:")):
        path = url.removeprefix(scheme).partition("?")[0]
        if url.startswith(scheme) and not Path(path).exists():
            return None
    try:
        return asyncio.run(_compared(settings))
    except AgentTraceError:
        return None


async def _compared(settings: Settings) -> Finding:
    async with AsyncExitStack() as stack:
        catalog = cast("MetadataStore", make_adapter("metadata", settings.metadata))
        storage = cast("ObjectStorage", make_adapter("storage", settings.storage))
        for adapter in (catalog, storage):
            stack.push_async_callback(adapter.aclose)
            await adapter.open()
        # In this order: what is merged away meanwhile is still kept for a while.
        snapshot = await catalog.snapshot()
        sizes = {info.key: info.size async for info in storage.list()}
    return _of(snapshot, sizes)


def _of(snapshot: Snapshot, sizes: dict[str, int]) -> Finding:
    objects = [stored for file in snapshot.files for stored in file.objects.values()]
    wrong = [
        f"{stored.key} is {'gone' if size is None else f'of {size:,} bytes instead of {stored.size:,}'}"
        for stored in objects
        if (size := sizes.get(stored.key)) != stored.size
    ]
    if not wrong:
        return Finding("files", Verdict.GOOD, f"{len(objects):,} objects are there, of the sizes that they should have")
    more = f", and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
    return Finding(
        "files", Verdict.WRONG, f"{'; '.join(wrong[:_SHOWN])}{more}: answers are without what is in them",
        "restore them from a copy, and start the server again",
    )  # fmt: skip
