"""An embedded deployment in one folder, driven step by step, that can be cut off at any of them.

A crash is simulated by raising ``Crash`` at a failpoint and leaving everything as it lies: the next
step opens all adapters anew, as a new process would. ``tests/faults/test_kill.py`` does the
same with real processes and SIGKILL.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agenttrace_adapters.filesystem import FilesystemLiveTable, FilesystemStorage
from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_adapters.memory.index import MemoryIndex as DuckDBIndex
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.index import View
from agenttrace_core.ports.queue import Headers, Position, Signal, SpanQueue
from agenttrace_core.services.compact import CompactConfig, CompactService
from agenttrace_core.services.write import WriteConfig, WriteService


class Crash(BaseException):
    """Stands for the process being gone; nobody catches it but the test."""


@dataclass
class Backends:
    """Everything that one process opens."""

    queue: SpanQueue
    storage: FilesystemStorage
    catalog: MetadataStore
    live: FilesystemLiveTable
    index: DuckDBIndex


@asynccontextmanager
async def backends(
    folder: Path, queue: SpanQueue | None = None, catalog: MetadataStore | None = None
) -> AsyncIterator[Backends]:
    """Open the adapters of an embedded deployment, with another queue or catalog if one is given."""
    async with AsyncExitStack() as stack:
        opened = Backends(
            LocalLogQueue.from_url(f"log:{folder}/log") if queue is None else queue,
            FilesystemStorage.from_url(f"file:{folder}/objects"),
            SqliteCatalog.from_url(f"sqlite:{folder}/catalog.sqlite") if catalog is None else catalog,
            FilesystemLiveTable(folder / "live"),
            DuckDBIndex.from_url("memory:"),
        )
        opened.index.attach(opened.storage)
        for adapter in (opened.queue, opened.storage, opened.catalog, opened.live, opened.index):
            stack.push_async_callback(adapter.aclose)
            await adapter.open()
        yield opened


async def append(
    folder: Path, *bodies: bytes, project: str = "default", signal: Signal = Signal.TRACES
) -> list[Position]:
    """Append requests, each durably, as a door does."""
    async with backends(folder) as b:
        return [await b.queue.append(Headers(project, signal, time.time_ns()), body) for body in bodies]


def nowhere(name: str) -> None:
    """A failpoint that never fails."""
    del name


def crash_at(step: str, on_visit: int = 1) -> Callable[[str], None]:
    """Return a failpoint that crashes when ``step`` is reached for the ``on_visit``-th time."""
    visits = 0

    def failpoint(name: str) -> None:
        nonlocal visits
        visits += name == step
        if name == step and visits == on_visit:
            raise Crash(step)

    return failpoint


async def write_all(
    folder: Path,
    *,
    config: WriteConfig | None = None,
    failpoint: Callable[[str], None] = nowhere,
    queue: SpanQueue | None = None,
) -> None:
    """Run a writer until all that is in the queue is in files.

    Raises:
        Crash: the failpoint said so.
    """
    async with backends(folder, queue) as b:
        writer = WriteService(
            queue=b.queue, catalog=b.catalog, storage=b.storage, live=b.live, index=b.index,
            config=config or WriteConfig(), failpoint=failpoint,
        )  # fmt: skip
        writer.drain()
        try:
            await writer.run()
        except BaseExceptionGroup as group:
            crashes, rest = group.split(Crash)
            if rest is None and crashes is not None:
                raise Crash(str(crashes)) from group
            raise


async def compact_all(folder: Path, config: CompactConfig, failpoint: Callable[[str], None] = nowhere) -> int:
    """Merge and collect until there is nothing left to do; return how many merges it took."""
    async with backends(folder) as b:
        service = CompactService(catalog=b.catalog, storage=b.storage, config=config, failpoint=failpoint)
        merges = 0
        while await service.merge_once():
            merges += 1
        await service.collect()
        return merges


async def file_view(b: Backends) -> View:
    """What a reader sees of the files alone."""
    from agenttrace_core.ports.live import LiveState

    return View(await b.catalog.snapshot(), LiveState())
