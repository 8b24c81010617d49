"""Bodies kept in the storage because they are too long for the queue, as the writer's tail reads them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from agenttrace_adapters.memory import MemoryQueue, MemoryStorage
from agenttrace_core.errors import InvalidInputError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, Record, Signal
from agenttrace_core.services.memory_of_writes import BodyMemory
from agenttrace_core.services.refusals import RefusedInput
from agenttrace_core.services.stored_records import Reference
from agenttrace_core.services.tail import Batch, Tail, decode
from tests.integration.doors import request, span

pytestmark = pytest.mark.anyio

_HEADERS = Headers("shop", Signal.TRACES, 1_700_000_000_000_000_000)
_MANY = 1 << 30


class _Away(MemoryStorage):
    """Away for as long as it is told to be."""

    is_away = False

    async def get(self, key: str) -> bytes:
        if self.is_away:
            raise UnavailableError("the storage is away")
        return await super().get(key)


class _World:
    """A queue of two partitions, and the storage beside it."""

    def __init__(self) -> None:
        self.queue = MemoryQueue(partitions=2)
        self.storage = _Away()
        self.known = BodyMemory(100)
        self.tail = Tail(self.queue, self.storage, {}, offset_base=0)

    async def put(self, body: bytes, partition: int = 0, *, kept: bytes | None = None) -> Reference:
        """Append a body as a reference; ``kept`` is what the storage has in its place."""
        reference = Reference.of(_HEADERS, body)
        await self.storage.put(reference.object.key, [body if kept is None else kept])
        await self.queue.append(*reference.to_record(_HEADERS), partition=partition)
        return reference

    async def batch(self, max_bytes: int = _MANY) -> Batch:
        """Read and decode what there is, as a writer does."""
        batch = decode(await self.tail.read(max_bytes), self.known)
        self.known.add(batch.bodies)
        return batch


@pytest.fixture
async def world() -> _World:
    made = _World()
    await made.queue.open()
    return made


def _span_ids(batch: Batch) -> list[str]:
    ids: list[str] = batch.rows["span_id"].to_pylist()
    return ids


async def test_a_stored_body_is_read_in_its_place_and_named_for_deletion(world: _World) -> None:
    """Lost: spans that were acknowledged, or the storage's room, for ever."""
    await world.queue.append(_HEADERS, request(span(1)), partition=0)
    reference = await world.put(request(span(2)))
    await world.queue.append(_HEADERS, request(span(3)), partition=0)
    batch = await world.batch()
    assert _span_ids(batch) == [f"{n:016x}" for n in (1, 2, 3)]
    assert list(batch.objects) == [reference.object.key]
    assert set(batch.rows["project"].to_pylist()) == {"shop"}
    assert not batch.letters


async def test_a_body_that_is_sent_again_is_known_whether_stored_or_not(world: _World) -> None:
    """A retry after a 503 may meet another bound; counted twice, sums would be wrong."""
    body = request(span(1))
    await world.put(body)
    assert len((await world.batch()).rows) == 1
    await world.queue.append(_HEADERS, body, partition=0)
    await world.put(body)
    batch = await world.batch()
    assert (len(batch.rows), batch.repeated, len(batch.objects)) == (0, 2, 1)


async def test_a_body_that_was_written_is_not_missed(world: _World) -> None:
    """Two records that share an object (sent twice within a nanosecond): the first one's commit deletes it."""
    reference = await world.put(request(span(1)))
    await world.batch()
    await world.storage.delete(reference.object.key)
    await world.queue.append(*reference.to_record(_HEADERS), partition=0)
    batch = await world.batch()
    assert (batch.repeated, list(batch.letters)) == (1, [])


async def test_while_the_storage_is_away_nothing_is_passed_over_and_others_are_read(world: _World) -> None:
    """An outage must not make dead letters of what was acknowledged, nor stall other partitions."""
    await world.put(request(span(1)), partition=0)
    await world.queue.append(_HEADERS, request(span(2)), partition=1)
    world.storage.is_away = True
    batch = await world.batch()
    assert _span_ids(batch) == [f"{2:016x}"]
    assert [r.partition for r in batch.ranges] == [1]
    with pytest.raises(UnavailableError):
        await world.tail.read(_MANY)
    world.storage.is_away = False
    assert _span_ids(await world.batch()) == [f"{1:016x}"]


async def test_a_body_that_is_lost_or_damaged_becomes_a_dead_letter_alone(world: _World) -> None:
    """One lost object must not stall a partition; what is left of it is kept for its owner to see."""
    lost = await world.put(request(span(1)))
    await world.storage.delete(lost.object.key)
    await world.put(request(span(2)), kept=b"something else")
    await world.put(request(span(3)))
    started = time.monotonic()
    batch = await world.batch()
    assert time.monotonic() - started < 2
    assert _span_ids(batch) == [f"{3:016x}"]
    heads = [letter.head for letter in batch.letters]
    assert [(head.project, head.signal) for head in heads] == [("shop", "traces")] * 2
    assert "cannot be read" in heads[0].reason
    assert "is not what was put there" in heads[1].reason
    assert [RefusedInput.from_record(letter.body).body for letter in batch.letters] == [b"", b"something else"]


async def test_a_lost_body_that_is_sent_again_is_written(world: _World) -> None:
    """The sender's retry is the only copy left; it must not be dropped as a repetition of what was lost."""
    lost = await world.put(request(span(1)))
    await world.storage.delete(lost.object.key)
    assert len((await world.batch()).letters) == 1
    await world.queue.append(_HEADERS, request(span(1)), partition=0)
    assert _span_ids(await world.batch()) == [f"{1:016x}"]


async def test_references_count_as_what_they_refer_to(world: _World) -> None:
    """Else a handful of short records could ask for more memory than there is."""
    for n in range(1, 6):
        await world.put(request(span(n, name="x" * 1000)))
    seen = []
    while (batch := await world.batch(2500)).ranges:
        seen.append(_span_ids(batch))
    assert [len(ids) for ids in seen] == [2, 2, 1]
    assert [span_id for ids in seen for span_id in ids] == [f"{n:016x}" for n in range(1, 6)]


async def test_only_the_partitions_asked_for_are_read(world: _World) -> None:
    """Two writers share a queue; what both read would be there twice."""
    await world.queue.append(_HEADERS, request(span(1)), partition=0)
    await world.queue.append(_HEADERS, request(span(2)), partition=1)
    tail = Tail(world.queue, world.storage, {}, offset_base=0, partitions={1})
    assert [r.partition for r in (await tail.read(_MANY)).ranges] == [1]
    assert [r.partition for r in (await world.tail.read(_MANY)).ranges] == [0, 1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"signal":"traces"}',
        b'{"signal":"traces","key":"spans/live.parquet","size":1,"checksum":"","digest":""}',
        b'{"signal":"traces","key":"records/other/1","size":1,"checksum":"","digest":""}',
    ],
)
async def test_a_reference_that_names_no_body_of_its_project_is_a_dead_letter(world: _World, body: bytes) -> None:
    """Who can write to the queue must not have the writer read, or delete, an object of another's."""
    await world.queue.append(replace(_HEADERS, signal=Signal.STORED), body, partition=0)
    batch = await world.batch()
    assert [letter.head.signal for letter in batch.letters] == ["stored"]
    assert list(batch.objects) == []


def test_a_reference_reads_back() -> None:
    """Lost: the way to a body that is acknowledged."""
    reference = Reference.of(_HEADERS, b"body")
    headers, body = reference.to_record(_HEADERS)
    assert (headers.project, headers.signal, headers.received_ns) == ("shop", "stored", _HEADERS.received_ns)
    assert Reference.from_record(Record(Position(0, 0, 1), headers, body)) == reference
    with pytest.raises(InvalidInputError):
        Reference.from_record(Record(Position(0, 0, 1), replace(headers, project="other"), body))
