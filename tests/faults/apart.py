"""Parts of a server run apart, in one process: writers that share a queue of several partitions.

Each has its own connection to the catalog and its own index, and can be killed, or suspended: then no call of it
begins, and none comes back.
"""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from agenttrace_adapters.filesystem import FilesystemStorage
from agenttrace_adapters.memory import MemoryIndex, MemoryLiveTable, MemoryQueue
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_core.errors import ConflictError
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveState
from agenttrace_core.ports.queue import Headers, Position, Signal
from agenttrace_core.query.settle import winners
from agenttrace_core.services.compact import CompactConfig, CompactService
from agenttrace_core.services.failpoint import Failpoint
from agenttrace_core.services.share import SharedWriter
from agenttrace_core.services.write import WriteConfig, WriteService
from tests.faults.deployment import Crash, nowhere
from tests.faults.spans import SpanSpec, now_ns, request
from tests.faults.test_trees import check_index

PARTITIONS = 4
TTL_S = 0.5

Identity = tuple[bytes, bytes, int, str, int]


@dataclass
class Shared:
    """What the parts have in common, and what was sent: each record's position, and its spans."""

    folder: Path
    queue: MemoryQueue = field(default_factory=lambda: MemoryQueue(partitions=PARTITIONS))
    sent: list[tuple[Position, Sequence[SpanSpec]]] = field(default_factory=list)

    async def send(self, specs: Sequence[SpanSpec], *, times: int = 1) -> None:
        """Append spans as a door does: a record for each partition that their traces are of."""
        for partition in range(PARTITIONS):
            own = [spec for spec in specs if spec.trace_id[0] % PARTITIONS == partition]
            for _ in range(times if own else 0):
                headers = Headers("default", Signal.TRACES, now_ns())
                self.sent.append((await self.queue.append(headers, request(*own), partition=partition), own))

    def expected(self, readable: Mapping[int, int]) -> dict[Identity, SpanSpec]:
        """Return the spans of all records below some offsets, in the versions that count."""
        spans: dict[Identity, SpanSpec] = {}
        for position, specs in self.sent:
            for spec in specs if position.next_offset <= readable.get(position.partition, 0) else ():
                key = (spec.trace_id, spec.span_id, spec.kind, spec.service, spec.start_ns)
                known = spans.get(key)
                if known is None or (spec.end_ns != 0, spec.end_ns) >= (known.end_ns != 0, known.end_ns):
                    spans[key] = spec
        return spans

    @asynccontextmanager
    async def backends(self) -> AsyncIterator[tuple[SqliteCatalog, FilesystemStorage, MemoryIndex]]:
        """Open what one process opens beside the queue."""
        async with AsyncExitStack() as stack:
            catalog = SqliteCatalog.from_url(f"sqlite:{self.folder}/catalog.sqlite")
            storage = FilesystemStorage.from_url(f"file:{self.folder}/objects")
            index = MemoryIndex.from_url("memory:")
            index.attach(storage)
            for adapter in (catalog, storage, index):
                stack.push_async_callback(adapter.aclose)
                await adapter.open()
            yield catalog, storage, index

    async def compact(self, config: CompactConfig) -> None:
        """Do all merges that are due now."""
        async with self.backends() as (catalog, storage, _):
            service = CompactService(catalog=catalog, storage=storage, config=config)
            while await service.merge_once():
                pass
            await service.collect()

    async def until_written(self) -> None:
        """Return once all that was sent is in files.

        Raises:
            TimeoutError: it is not for a minute.
        """
        ends = await self.queue.end_offsets()
        with anyio.fail_after(240):
            async with self.backends() as (catalog, *_):
                while True:
                    _, watermarks = await catalog.watermarks()
                    if all(watermarks.get(p, 0) >= end for p, end in ends.items()):
                        return
                    await anyio.sleep(0.02)

    async def check_files(self) -> None:
        """Compare what the files say with what was sent."""
        async with self.backends() as (catalog, _, index):
            snapshot = await catalog.snapshot()
            await self.check(index, View(snapshot, LiveState()), snapshot.watermarks)

    async def check(self, index: MemoryIndex, view: View, readable: Mapping[int, int]) -> None:
        """Compare what a view says with what was sent below some offsets: every span once, and every sum."""
        expected = self.expected(readable)
        traces = sorted({spec.trace_id.hex() for spec in expected.values()})
        rows = await index.versions(view, "default", traces)
        assert winners(rows).all(), "a superseded version is still visible"
        found = [rows[name].to_pylist() for name in ("trace_id", "span_id", "start_ns", "input_tokens")]
        wanted = [(s.trace_id.hex(), s.span_id.hex(), s.start_ns, s.tokens) for s in expected.values()]
        told = list(zip(*found, strict=True))
        lost, surplus = Counter(wanted) - Counter(told), Counter(told) - Counter(wanted)
        assert not lost, f"lost: {lost}"
        assert not surplus, f"doubled or too early: {surplus}"
        listed = await index.traces(view, "default", limit=1000)
        assert len(listed) == len(traces)
        await check_index(index, view)


class Gated:
    """An adapter as a process sees it that may be suspended."""

    def __init__(self, adapter: Any, part: Writer) -> None:
        self._adapter, self._part = adapter, part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._adapter, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*given: Any, **named: Any) -> Any:
            await self._part.resumed.wait()
            answer = await found(*given, **named)
            await self._part.resumed.wait()
            return answer

        return call


class Writer:
    """A writer of its own process, so to speak."""

    def __init__(
        self, shared: Shared, name: str, config: WriteConfig, failpoint: Failpoint = nowhere, *, whole: bool = False
    ) -> None:
        self.name, self.resumed, self.ended = name, anyio.Event(), anyio.Event()
        self.resumed.set()
        self._shared, self._config, self._failpoint = shared, config, failpoint
        self._whole = whole
        self._scope = anyio.CancelScope()
        self.service: SharedWriter | None = None

    def start(self, tasks: TaskGroup) -> Writer:
        """Have it run until it is told to stop, killed, or crashes at its failpoint."""
        tasks.start_soon(self._run)
        return self

    async def _run(self) -> None:
        with self._scope:
            try:
                async with self._shared.backends() as opened:
                    catalog, storage, index = (Gated(adapter, self) for adapter in opened)
                    queue: Any = Gated(self._shared.queue, self)

                    def make_writer(partitions: Collection[int]) -> WriteService:
                        return WriteService(
                            queue=queue, catalog=catalog, storage=storage, index=index, live=MemoryLiveTable(),  # type: ignore[arg-type]
                            config=self._config, partitions=partitions, is_followed=True,
                            failpoint=self._failpoint,
                        )  # fmt: skip

                    self.service = SharedWriter(
                        queue=queue, leases=catalog, make_writer=make_writer, holder=self.name, ttl_s=TTL_S,  # type: ignore[arg-type]
                        whole=self._whole,
                    )  # fmt: skip
                    await self.service.run()
            except* (Crash, ConflictError):
                pass  # the latter of one that slept for so long that its uploads were collected
        self.ended.set()

    def kill(self) -> None:
        """End it as kill -9 does: nothing is written or given back any more."""
        self._scope.cancel()

    def stop(self) -> None:
        """Have it end in order."""
        if self.service is not None:
            self.service.drain()

    def suspend(self) -> None:
        """Stop it as SIGSTOP does."""
        self.resumed = anyio.Event()

    def resume(self) -> None:
        """Let it go on where it was."""
        self.resumed.set()


def draw_failpoint(rng: random.Random, steps: Sequence[str]) -> Failpoint:
    """Return one that mostly never fails, and else crashes at some visit of some step."""
    step, left = rng.choice([*steps, *[""] * len(steps)]), rng.randint(1, 3)

    def failpoint(name: str) -> None:
        nonlocal left
        left -= name == step
        if name == step and left == 0:
            raise Crash(step)

    return failpoint
