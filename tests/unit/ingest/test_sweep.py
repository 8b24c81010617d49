"""Stored bodies that were left are deleted, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import pytest

from agenttrace_adapters.memory import MemoryQueue, MemoryStorage
from agenttrace_core.ports.catalog import WriterMemory
from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_core.services.stored_records import PREFIX, Reference
from agenttrace_core.services.sweep import Sweep

pytestmark = pytest.mark.anyio

_HOUR_S = 3600.0
_HEADERS = Headers("shop", Signal.TRACES, 1)


class _Watermarks(WriterMemory):
    def __init__(self) -> None:
        self.told: dict[int, int] = {}

    async def bodies(self, limit: int) -> list[bytes]:
        return [][:limit]

    async def watermarks(self) -> tuple[UUID | None, Mapping[int, int]]:
        return None, self.told


class _World:
    def __init__(self) -> None:
        self.queue = MemoryQueue(partitions=2)
        self.storage = MemoryStorage()
        self.catalog = _Watermarks()
        self.now = 0.0
        self.sweep = Sweep(self.queue, self.catalog, self.storage, quiet_s=_HOUR_S, clock=lambda: self.now)

    async def put(self, body: bytes, *, append: bool) -> str:
        reference = Reference.of(_HEADERS, body)
        await self.storage.put(reference.object.key, [body])
        if append:
            await self.queue.append(*reference.to_record(_HEADERS))
        return reference.object.key

    async def after(self, seconds: float) -> set[str]:
        """Sweep once so much later, and return what is there still."""
        self.now += seconds
        await self.sweep.sweep()
        return {info.key async for info in self.storage.list(PREFIX)}


@pytest.fixture
async def world() -> _World:
    made = _World()
    await made.queue.open()
    return made


async def test_a_body_that_no_record_names_goes_after_an_hour(world: _World) -> None:
    """Lost: the storage's room, a little more with every failed request, for ever."""
    key = await world.put(b"left", append=False)
    assert await world.after(0) == {key}
    assert await world.after(_HOUR_S - 1) == {key}, "its record may still be on its way"
    assert await world.after(1) == set()


async def test_a_body_stays_while_its_record_waits_for_the_writer(world: _World) -> None:
    """A backlog of hours is what the queue is for; what is in it was acknowledged."""
    key = await world.put(b"waiting", append=True)
    for _ in range(5):
        assert await world.after(_HOUR_S) == {key}
    world.catalog.told = {0: (await world.queue.end_offsets())[0] - 1}
    assert await world.after(_HOUR_S) == {key}
    world.catalog.told = dict(await world.queue.end_offsets())
    assert await world.after(0) == set()


async def test_a_queue_that_is_never_empty_does_not_keep_what_was_left(world: _World) -> None:
    """Under steady load the watermarks never meet the ends; only the ends of an hour ago matter."""
    await world.put(b"left", append=False)
    await world.after(0)
    for _ in range(4):
        for partition in (0, 1):
            await world.queue.append(_HEADERS, b"more", partition=partition)
        remaining = await world.after(_HOUR_S / 2)
        world.catalog.told = dict(await world.queue.end_offsets())
        for partition in (0, 1):
            await world.queue.append(_HEADERS, b"more", partition=partition)
    assert remaining == set()


async def test_other_objects_are_never_swept(world: _World) -> None:
    """Lost: everything, if a prefix were read wrongly."""
    await world.storage.put("spans/a.parquet", [b"live"])
    await world.storage.put("recordsbook", [b"mine"])
    for _ in range(3):
        await world.after(_HOUR_S)
    assert [info.key async for info in world.storage.list()] == ["recordsbook", "spans/a.parquet"]
