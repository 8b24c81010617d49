"""From acknowledgement to readable: asks for sampled traces until they are there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from tests.benchmarks.bodies import SPANS_PER_TRACE, trace_ids
from tests.benchmarks.client import Client
from tests.benchmarks.load import Ack

_PAUSE_S = 0.025
_CLIENTS = 4
_GIVES_UP_S = 120.0


@dataclass(slots=True)
class Readback:
    """Follows sampled acknowledgements. ``latencies_ms`` are from the acknowledgement to the first whole answer."""

    url: str
    latencies_ms: list[float] = field(default_factory=list)
    never: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _clients: asyncio.Queue[Client] = field(default_factory=asyncio.Queue)

    def on_ack(self, ack: Ack) -> None:
        """Begin to ask for the last trace of a request that was just acknowledged."""
        self._tasks.append(asyncio.create_task(self._follow(ack)))

    async def settle(self) -> None:
        """Wait until every trace asked for is readable or given up."""
        await asyncio.gather(*self._tasks)

    async def _follow(self, ack: Ack) -> None:
        trace_id = trace_ids(ack.seed, ack.request)[-1]
        while (waited_ms := (time.monotonic_ns() - ack.acked_ns) / 1e6) < _GIVES_UP_S * 1e3:
            client = await self._clients.get()
            try:
                found = await spans_of(client, trace_id)
            finally:
                self._clients.put_nowait(client)
            if found == SPANS_PER_TRACE:
                self.latencies_ms.append((time.monotonic_ns() - ack.acked_ns) / 1e6)
                return
            # One that takes long is asked for less often, so that asking does not become the load.
            await asyncio.sleep(max(_PAUSE_S, waited_ms / 1e4))
        self.never += 1


@contextlib.asynccontextmanager
async def readback(api_url: str) -> AsyncIterator[Readback]:
    """Follow acknowledgements until the block ends; it ends when all that were sampled are readable."""
    follower = Readback(api_url)
    clients = [Client(api_url) for _ in range(_CLIENTS)]
    for client in clients:
        follower._clients.put_nowait(client)
    try:
        yield follower
        await follower.settle()
    finally:
        for client in clients:
            await client.aclose()


async def spans_of(client: Client, trace_id: str) -> int:
    """Return how many spans the API has of a trace (its first page); 0 if it knows none or does not answer."""
    try:
        status, body = await client.get(f"/api/v1/traces/{trace_id}")
    except OSError:
        return 0
    return len(json.loads(body)["spans"]) if status == 200 else 0


async def missing(api_url: str, ids: Iterable[str], *, clients: int = 8) -> tuple[list[str], list[str]]:
    """Ask for every trace once; return the ids of those that are not there, and of those with spans too many."""
    ahead = iter(ids)
    absent: list[str] = []
    doubled: list[str] = []

    async def ask() -> None:
        client = Client(api_url)
        for trace_id in ahead:
            found = await spans_of(client, trace_id)
            if found < SPANS_PER_TRACE:
                absent.append(trace_id)
            elif found > SPANS_PER_TRACE:
                doubled.append(trace_id)
        await client.aclose()

    await asyncio.gather(*(ask() for _ in range(clients)))
    return absent, doubled
