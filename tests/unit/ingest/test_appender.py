"""From requests to records: which partition each span goes to, and what becomes of what is too long."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agenttrace_adapters.memory import MemoryQueue, MemoryStorage
from agenttrace_core.errors import InvalidInputError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, Record, Signal
from agenttrace_core.services.appender import Appender, ends_of
from agenttrace_core.services.memory_of_writes import BodyMemory
from agenttrace_core.services.tail import Batch, Tail, decode
from tests.integration.doors import request, span

pytestmark = pytest.mark.anyio

_HEADERS = Headers("shop", Signal.TRACES, 1_700_000_000_000_000_000)
_LIMIT = 4096


class _Queue(MemoryQueue):
    """Four partitions of short records; ``fails`` says of which partitions an append fails."""

    fails: Callable[[int | None], Exception | None] = staticmethod(lambda _: None)

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        error = self.fails(partition)
        if error is not None:
            raise error
        return await super().append(headers, body, partition=partition)


@pytest.fixture
async def queue() -> _Queue:
    made = _Queue(partitions=4, max_record_bytes=_LIMIT)
    await made.open()
    return made


async def _records(queue: MemoryQueue) -> list[Record]:
    return [r for p in await queue.end_offsets() for r in await queue.read(p, 0, max_bytes=1 << 40)]


async def _batch(queue: MemoryQueue, storage: MemoryStorage) -> Batch:
    return decode(await Tail(queue, storage, {}, offset_base=0).read(1 << 40), BodyMemory(1000))


def _spans_of(traces: int, *, each: int = 3, name: str = "step") -> bytes:
    return request(*(
        span(trace * 100 + n, trace_id=trace.to_bytes(16, "big"), name=name)
        for n in range(each) for trace in range(1, traces + 1)
    ))  # fmt: skip


async def test_each_trace_is_whole_in_one_partition(queue: _Queue) -> None:
    """One writer has to see the whole of a trace, or its sums are right only once it is compacted."""
    appender = Appender(queue)
    for _ in range(2):
        positions = await appender.append(_HEADERS, _spans_of(10))
        assert len(positions) == len({p.partition for p in positions}) == 4
    partitions = defaultdict(set)
    spans: Counter[bytes] = Counter()
    for record in await _records(queue):
        assert record.headers == _HEADERS
        for resource in ExportTraceServiceRequest.FromString(record.body).resource_spans:
            for scope in resource.scope_spans:
                for one in scope.spans:
                    partitions[one.trace_id].add(record.position.partition)
                    spans[one.span_id] += 1
    assert len(partitions) == 10
    assert all(len(found) == 1 for found in partitions.values())
    assert len(spans) == 30
    assert set(spans.values()) == {2}


@pytest.mark.parametrize("url", ["memory:", "memory:?partitions=4"])
async def test_what_needs_one_record_is_appended_as_it_is(url: str) -> None:
    """The way of nearly every request of an embedded server must cost nothing, and change no byte."""
    queue = MemoryQueue.from_url(url)
    await queue.open()
    body = _spans_of(1)
    await Appender(queue).append(_HEADERS, body)
    [record] = await _records(queue)
    assert record.body is body


async def test_a_long_request_is_divided_and_reads_back_whole(queue: _Queue) -> None:
    """Lost: what a broker does not take in one record."""
    storage = MemoryStorage()
    positions = await Appender(queue, storage).append(_HEADERS, _spans_of(10, each=20, name="x" * 200))
    records = await _records(queue)
    assert len(positions) == len(records) > 8
    assert all(len(r.body) <= _LIMIT and r.headers == _HEADERS for r in records)
    assert len(set((await _batch(queue, storage)).rows["span_id"].to_pylist())) == 200
    assert [info.key async for info in storage.list()] == []


async def test_a_span_that_no_record_can_hold_goes_into_the_storage(queue: _Queue) -> None:
    """Lost: a long conversation, in one span, that was acknowledged."""
    storage = MemoryStorage()
    body = request(span(1), span(2, name="x" * 2 * _LIMIT), span(3))
    await Appender(queue, storage).append(_HEADERS, body)
    assert Counter(r.headers.signal for r in await _records(queue)) == {Signal.TRACES: 2, Signal.STORED: 1}
    batch = await _batch(queue, storage)
    assert sorted(batch.rows["span_id"].to_pylist()) == [f"{n:016x}" for n in (1, 2, 3)]
    assert [info.key async for info in storage.list()] == list(batch.objects)


@pytest.mark.parametrize("signal", [Signal.LOGS, Signal.REFUSED])
async def test_other_bodies_go_where_their_bytes_say(queue: _Queue, signal: Signal) -> None:
    """Sent again, they must meet the writer that wrote them; and all partitions must share them."""
    appender, headers = Appender(queue, MemoryStorage()), Headers("shop", signal, 1)
    chosen = [[p.partition for p in await appender.append(headers, b"%d" % n)] for n in range(40)]
    assert [[p.partition for p in await appender.append(headers, b"%d" % n)] for n in range(40)] == chosen
    assert {partition for partitions in chosen for partition in partitions} == {0, 1, 2, 3}
    await appender.append(headers, b"\xff" * (_LIMIT + 1) if signal is Signal.REFUSED else b"")
    assert any(r.headers.signal is Signal.STORED for r in await _records(queue)) == (signal is Signal.REFUSED)


async def test_a_part_that_fails_fails_the_request_and_the_retry_doubles_nothing(queue: _Queue) -> None:
    """A 503 is followed by the same request; what of it was stored already must not count again."""
    appender, storage = Appender(queue), MemoryStorage()
    queue.fails = lambda partition: UnavailableError("away") if partition == 2 else None
    with pytest.raises(UnavailableError, match="away"):
        await appender.append(_HEADERS, _spans_of(10))
    assert len(await _records(queue)) == 3, "the others are tried all the same"
    queue.fails = lambda _: None
    await appender.append(_HEADERS, _spans_of(10))
    batch = await _batch(queue, storage)
    assert (len(batch.rows), len(set(batch.rows["span_id"].to_pylist())), batch.repeated) == (30, 30, 3)


async def test_a_partition_that_is_gone_is_no_fault_of_the_senders(queue: _Queue) -> None:
    """A 400 would have the sender throw its spans away."""
    appender = Appender(queue)
    queue.fails = lambda _: InvalidInputError("no such partition")
    with pytest.raises(UnavailableError, match="other partitions"):
        await appender.append(_HEADERS, _spans_of(10))


async def test_without_a_storage_what_is_too_long_is_refused(queue: _Queue) -> None:
    """An embedder who gives none is told, instead of losing the span."""
    with pytest.raises(PayloadTooLargeError):
        await Appender(queue).append(_HEADERS, request(span(1, name="x" * _LIMIT)))
    assert await _records(queue) == []


async def test_a_storage_that_is_away_fails_the_request_before_the_record(queue: _Queue) -> None:
    """A reference to nothing would be a dead letter of what the sender still has."""

    class Away(MemoryStorage):
        async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
            raise UnavailableError("away")

    with pytest.raises(UnavailableError):
        await Appender(queue, Away()).append(_HEADERS, request(span(1, name="x" * _LIMIT)))
    assert await _records(queue) == []


async def test_a_large_request_is_divided_beside_the_event_loop_with_the_same_result() -> None:
    """A request of many megabytes must not make all others wait; where it is divided must not show."""
    queue, storage = MemoryQueue(partitions=4), MemoryStorage()
    await queue.open()
    body = _spans_of(50, each=20, name="x" * 5000)
    assert len(body) > 4 << 20
    positions = await Appender(queue, storage).append(_HEADERS, body)
    assert ends_of(positions) == await queue.end_offsets()
    assert len((await _batch(queue, storage)).rows) == 1000
