"""What every span queue must do: acknowledged records are there, once, whole, in one order."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from agenttrace_contracts.base import AdapterMachine, Contract, Make, opened, run_machine
from agenttrace_core.errors import InvalidInputError, PayloadTooLargeError
from agenttrace_core.ports.queue import Headers, Position, Record, Signal, SpanQueue

HEADERS = Headers("default", Signal.TRACES, 1_700_000_000_000_000_000)
_SOON_S = 5.0
_OVERHEAD_BYTES = 1024


class QueueContract(Contract[SpanQueue]):
    """The contract of ``SpanQueue``. Supply ``make``; ``opened`` instances are made from it.

    The oracle is what ``append`` returned: positions and bodies, kept in plain Python.
    """

    async def test_a_record_reads_back_as_it_was_appended(self, adapter: SpanQueue) -> None:
        """Without this, what was acknowledged is not what is stored."""
        for headers, body in _VARIED:
            position = await adapter.append(headers, body)
            found = await adapter.read(position.partition, position.offset, max_bytes=1, wait_s=_SOON_S)
            assert list(found) == [Record(position, headers, body)]

    async def test_offsets_grow_in_the_order_of_acknowledgement(self, adapter: SpanQueue) -> None:
        """A watermark is one number; it means something only if offsets follow the order of the log."""
        positions = [await adapter.append(HEADERS, b"%d" % i) for i in range(20)]
        for _, ordered in _by_partition(positions):
            assert all(p.offset < p.next_offset for p in ordered)
            assert all(a.next_offset <= b.offset for a, b in pairwise(ordered))

    async def test_reading_goes_on_from_any_offset_that_was_given(self, adapter: SpanQueue) -> None:
        """A writer resumes from a watermark; it must meet exactly what comes after it."""
        positions = [await adapter.append(HEADERS, bytes([i]) * i) for i in range(30)]
        for partition, ordered in _by_partition(positions):
            for i, position in enumerate(ordered):
                following = await read_all(adapter, partition, position.next_offset)
                assert [r.position for r in following] == ordered[i + 1 :]

    async def test_a_read_is_bounded_and_makes_progress(self, adapter: SpanQueue) -> None:
        """Unbounded reads exhaust memory; a read that returns nothing for a large record never ends."""
        positions = [await adapter.append(HEADERS, bytes(1000)) for _ in range(10)]
        for partition, ordered in _by_partition(positions):
            assert len(await adapter.read(partition, ordered[0].offset, max_bytes=1)) == 1
            assert 1 <= len(await adapter.read(partition, ordered[0].offset, max_bytes=2500)) <= 2

    async def test_the_end_is_empty_at_once(self, adapter: SpanQueue) -> None:
        """A reader that has caught up must not be kept waiting, nor be shown a record twice."""
        position = await adapter.append(HEADERS, b"last")
        end = (await adapter.end_offsets())[position.partition]
        assert end == position.next_offset
        with anyio.fail_after(_SOON_S):
            assert list(await adapter.read(position.partition, end, max_bytes=1 << 20)) == []

    async def test_a_reader_that_waits_is_given_what_is_appended_meanwhile(self, adapter: SpanQueue) -> None:
        """A live tail stands on this: seconds of delay here are seconds until a span can be seen."""
        position = await adapter.append(HEADERS, b"first")
        seen: list[Record] = []

        async def wait_for_more() -> None:
            seen.extend(await adapter.read(position.partition, position.next_offset, max_bytes=1 << 20, wait_s=_SOON_S))

        with anyio.fail_after(2 * _SOON_S):
            async with anyio.create_task_group() as group:
                group.start_soon(wait_for_more)
                await anyio.sleep(0.05)
                await _append_to(adapter, position.partition, b"second")
        assert [r.body for r in seen][:1] == [b"second"]

    async def test_waiting_ends(self, adapter: SpanQueue) -> None:
        """A reader that waits for ever cannot be stopped, nor look at another partition."""
        position = await adapter.append(HEADERS, b"only")
        began = time.monotonic()
        assert list(await adapter.read(position.partition, position.next_offset, max_bytes=1, wait_s=0.2)) == []
        assert 0.15 <= time.monotonic() - began < 0.2 + _SOON_S

    async def test_appends_under_way_at_once_are_all_kept_once(self, adapter: SpanQueue) -> None:
        """A busy door appends hundreds at a time; one lost or doubled is a lie in an acknowledgement."""
        acknowledged = await append_many(adapter, [b"%d" % i * (i % 50) + b"|%d" % i for i in range(300)])
        assert len({(p.partition, p.offset) for p in acknowledged}) == 300
        assert await stored(adapter) == acknowledged

    async def test_a_cancelled_append_spoils_nothing(self, adapter: SpanQueue) -> None:
        """Clients hang up all the time; the next client must not pay for it."""
        with anyio.move_on_after(0):
            await adapter.append(HEADERS, b"given up")
        async with anyio.create_task_group() as group:
            for i in range(20):
                group.start_soon(adapter.append, HEADERS, b"given up %d" % i)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        kept = await append_many(adapter, [b"kept %d" % i for i in range(20)])
        found = await stored(adapter)
        assert kept.items() <= found.items()
        assert len(set(found.values())) == len(found), "a record was stored twice"

    async def test_begin_and_end_enclose_every_record(self, adapter: SpanQueue) -> None:
        """The backlog, the lag and the check for a lost log are computed from these two."""
        acknowledged = await append_many(adapter, [b"x" * i for i in range(50)])
        begin, end = await adapter.begin_offsets(), await adapter.end_offsets()
        assert begin.keys() == end.keys()
        for partition, ordered in _by_partition(sorted(acknowledged, key=lambda p: p.offset)):
            assert begin[partition] <= ordered[0].offset
            assert end[partition] == ordered[-1].next_offset

    async def test_offsets_count_bytes_where_declared(self, adapter: SpanQueue) -> None:
        """The backlog is bounded in bytes only if the queue can tell them."""
        bodies = [os.urandom(n) for n in (0, 1, 1000, 100_000)]
        acknowledged = await append_many(adapter, bodies)
        spread = sum(p.next_offset - p.offset for p in acknowledged)
        if adapter.capabilities.byte_offsets:
            size = sum(len(b) for b in bodies)
            assert size <= spread <= size + _OVERHEAD_BYTES * len(bodies)
        else:
            assert spread >= len(bodies)

    async def test_a_record_goes_where_it_is_sent_where_declared(self, adapter: SpanQueue) -> None:
        """The spans of a trace are kept together by this, so that one writer sees the whole of it."""
        partitions = sorted(await adapter.end_offsets())
        for partition in [*partitions, *reversed(partitions)]:
            position = await adapter.append(HEADERS, b"sent", partition=partition)
            found = await adapter.read(position.partition, position.offset, max_bytes=1, wait_s=_SOON_S)
            assert list(found) == [Record(position, HEADERS, b"sent")]
            if adapter.capabilities.addressable:
                assert position.partition == partition

    async def test_a_partition_that_is_not_there_is_refused_where_declared(self, adapter: SpanQueue) -> None:
        """Put elsewhere instead, a record would part a trace, and nobody would know."""
        if not adapter.capabilities.addressable:
            await adapter.append(HEADERS, b"sent", partition=1 << 20)
            return
        with pytest.raises(InvalidInputError):
            await adapter.append(HEADERS, b"sent", partition=1 << 20)
        assert await stored(adapter) == {}

    async def test_trim_keeps_what_is_at_or_above(self, adapter: SpanQueue) -> None:
        """What a writer has not put into files yet exists only here."""
        positions = [await adapter.append(HEADERS, bytes(500)) for _ in range(30)]
        for partition, ordered in _by_partition(positions):
            middle = ordered[len(ordered) // 2]
            for _ in range(2):
                await adapter.trim(partition, middle.offset)
            assert (await adapter.begin_offsets())[partition] <= middle.offset
            kept = [r.position for r in await read_all(adapter, partition, middle.offset)]
            assert kept == [p for p in ordered if p.offset >= middle.offset]

    async def test_reading_below_the_beginning_starts_at_the_beginning(self, adapter: SpanQueue) -> None:
        """A reader that fell behind the trimming must find its way, not fail for ever."""
        positions = [await adapter.append(HEADERS, bytes(500)) for _ in range(30)]
        for partition, ordered in _by_partition(positions):
            await adapter.trim(partition, ordered[-1].offset)
            begin = (await adapter.begin_offsets())[partition]
            found = [r.position for r in await read_all(adapter, partition, ordered[0].offset)]
            assert found == [p for p in ordered if p.offset >= begin]

    async def test_offsets_never_go_back(self, adapter: SpanQueue) -> None:
        """A watermark above the end stops the writer; a queue that was emptied must go on where it was."""
        first = await adapter.append(HEADERS, b"first")
        await adapter.trim(first.partition, first.next_offset)
        assert (await adapter.end_offsets())[first.partition] == first.next_offset
        second = await _append_to(adapter, first.partition, b"second")
        assert second.offset >= first.next_offset
        found = await read_all(adapter, first.partition, first.next_offset)
        assert found[-1].position == second

    async def test_a_body_above_the_bound_is_refused_and_not_stored(self, adapter: SpanQueue) -> None:
        """One that was half stored, or refused without a reason, would cost the sender its spans silently."""
        limit = adapter.capabilities.max_record_bytes
        with pytest.raises(PayloadTooLargeError):
            await adapter.append(HEADERS, bytes(limit + 1))
        position = await adapter.append(HEADERS, bytes(min(limit, 8 << 20)))
        assert [r.position for r in await read_all(adapter, position.partition, 0)] == [position]

    async def test_durable_records_survive_being_opened_again(self, make: Make[SpanQueue]) -> None:
        """An acknowledgement is a promise over a restart; a queue without it says so by a new id."""
        async with opened(make("again")) as queue:
            acknowledged = await append_many(queue, [b"body %d" % i for i in range(100)])
            queue_id, declared = queue.queue_id, queue.capabilities.durable
        async with opened(make("again")) as queue:
            if declared:
                assert queue.queue_id == queue_id
                assert await stored(queue) == acknowledged
                more = await append_many(queue, [b"more"])
                assert await stored(queue) == acknowledged | more
            else:
                assert queue.queue_id != queue_id
                assert await stored(queue) == {}

    async def test_what_was_read_is_never_taken_back(self, make: Make[SpanQueue]) -> None:
        """A writer puts what it reads into files; if the queue forgets it, another record takes its offset."""
        async with opened(make("seen")) as queue:
            seen: dict[Position, bytes] = {}
            async with anyio.create_task_group() as group:
                for i in range(50):
                    group.start_soon(queue.append, HEADERS, b"body %d" % i)
                for _ in range(20):
                    seen |= await stored(queue)
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            durable = queue.capabilities.durable
            assert seen.items() <= (await stored(queue)).items()
        if durable:
            async with opened(make("seen")) as queue:
                assert seen.items() <= (await stored(queue)).items()

    async def test_another_instance_reads_along_where_declared(self, make: Make[SpanQueue]) -> None:
        """Door and writer are different processes; where they cannot share a queue, ids must tell."""
        async with opened(make("shared")) as queue, opened(make("shared")) as other:
            acknowledged = await append_many(queue, [b"body %d" % i for i in range(100)])
            if queue.capabilities.multi_process:
                assert other.queue_id == queue.queue_id
                assert await stored(other, expected=len(acknowledged)) == acknowledged
            else:
                assert other.queue_id != queue.queue_id
                assert await stored(other) == {}

    async def test_another_instance_sees_at_once_what_was_acknowledged_where_declared(
        self, make: Make[SpanQueue]
    ) -> None:
        """A query process tells its lag by the end; an old one would let it call a partial answer whole."""
        async with opened(make("witnessed")) as queue, opened(make("witnessed")) as other:
            if not queue.capabilities.multi_process:
                return
            for i in range(20):
                position = await queue.append(HEADERS, b"%d" % i)
                assert (await other.end_offsets())[position.partition] == position.next_offset
                found = await other.read(position.partition, position.offset, max_bytes=1)
                assert [r.position for r in found] == [position]

    async def test_two_appenders_do_not_overwrite_each_other(self, make: Make[SpanQueue]) -> None:
        """Several doors append at once; each acknowledgement names a record of its own."""
        async with opened(make("both")) as one, opened(make("both")) as two:
            acknowledged = await append_many(one, [b"one %d" % i for i in range(50)])
            others = await append_many(two, [b"two %d" % i for i in range(50)])
            acknowledged |= await append_many(one, [b"one again %d" % i for i in range(50)])
            if one.capabilities.multi_process:
                acknowledged |= others
            assert await stored(one, expected=len(acknowledged)) == acknowledged

    async def test_stores_of_other_names_are_other_queues(self, make: Make[SpanQueue]) -> None:
        """Positions are recorded with the queue's id; two queues of one id would be taken for one."""
        async with opened(make("left")) as left, opened(make("right")) as right:
            assert left.queue_id != right.queue_id
            await left.append(HEADERS, b"left")
            assert await stored(right) == {}

    async def test_closing_is_idempotent_and_safe_if_never_opened(self, make: Make[SpanQueue]) -> None:
        """Shutting down after a failed start must not hide the error that made it fail."""
        queue = make("closed")
        await queue.aclose()
        await queue.open()
        await queue.append(HEADERS, b"body")
        await queue.aclose()
        await queue.aclose()

    def test_capabilities_are_constant(self, make: Make[SpanQueue]) -> None:
        """Services choose their way at the start by what a queue declares."""
        queue = make("constant")
        assert queue.capabilities == queue.capabilities
        assert queue.capabilities.max_record_bytes >= 1 << 20

    def test_what_several_machines_share_several_processes_do(self, make: Make[SpanQueue]) -> None:
        """Services that find one declared rely on the other, and that the queue outlives each of them."""
        declared = make("machines").capabilities
        if declared.multi_machine:
            assert declared.multi_process
            assert declared.durable

    def test_any_order_of_operations(self, make: Make[SpanQueue]) -> None:
        """Faults hide between operations that work alone: trim and reopen, reopen and append."""
        run_machine(QueueMachine, make)


class QueueMachine(AdapterMachine[SpanQueue]):
    """Appends, reads, trims and reopens in any order, beside a list of what was acknowledged."""

    bodies: ClassVar[st.SearchStrategy[bytes]] = st.one_of(
        st.binary(max_size=64), st.integers(0, 200_000).map(lambda n: bytes([n % 251]) * n)
    )

    @initialize()
    def begin(self) -> None:
        """Start from an empty store."""
        self.records: dict[int, list[Record]] = {}
        self.trimmed: dict[int, int] = {}
        self.queue_id = self.adapter.queue_id

    @rule(
        project=st.text(max_size=20),
        signal=st.sampled_from(Signal),
        received_ns=st.integers(0, 2**63 - 1),
        batch=st.lists(bodies, min_size=1, max_size=6),
    )
    def append(self, project: str, signal: Signal, received_ns: int, batch: list[bytes]) -> None:
        """Append some bodies at once."""
        headers = Headers(project, signal, received_ns)
        for position, body in self.run(append_many, self.adapter, batch, headers).items():
            self.records.setdefault(position.partition, []).append(Record(position, headers, body))
        for records in self.records.values():
            records.sort(key=lambda r: r.position.offset)

    @precondition(lambda self: bool(self.records))
    @rule(data=st.data(), max_bytes=st.sampled_from([1, 100, 10_000, 10_000_000]))
    def read(self, data: st.DataObject, max_bytes: int) -> None:
        """Read from an offset that was given, and compare with what was acknowledged from there on."""
        partition, records = self._some(data)
        offset = data.draw(st.sampled_from([0, *(r.position.next_offset for r in records)]), label="offset")
        found = list(self.run(self.adapter.read, partition, offset, max_bytes=max_bytes))
        begin = self.run(self.adapter.begin_offsets)[partition]
        expected = [r for r in records if r.position.offset >= max(offset, begin)]
        assert found == expected[: len(found)]
        assert found or not expected
        assert len(found) <= 1 or sum(len(r.body) for r in found) <= max_bytes

    @precondition(lambda self: bool(self.records))
    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        """Trim below an offset that was given."""
        partition, records = self._some(data)
        offset = data.draw(st.sampled_from(records), label="up to").position.next_offset
        self.run(self.adapter.trim, partition, offset)
        self.trimmed[partition] = max(offset, self.trimmed.get(partition, 0))

    @precondition(lambda self: self.adapter.capabilities.durable)
    @rule()
    def close_and_open(self) -> None:
        """Open the same store again: it is the same queue."""
        self.reopen()
        assert self.adapter.queue_id == self.queue_id

    @invariant()
    def all_that_was_acknowledged_is_there(self) -> None:
        """Everything above what was trimmed reads back, and the offsets enclose it."""
        if not hasattr(self, "records"):
            return
        begin, end = self.run(self.adapter.begin_offsets), self.run(self.adapter.end_offsets)
        for partition, records in self.records.items():
            trimmed = self.trimmed.get(partition, 0)
            assert begin[partition] <= max(trimmed, records[0].position.offset)
            assert end[partition] == records[-1].position.next_offset
            found = self.run(read_all, self.adapter, partition, trimmed)
            assert found == [r for r in records if r.position.offset >= max(trimmed, begin[partition])]

    def _some(self, data: st.DataObject) -> tuple[int, list[Record]]:
        return data.draw(st.sampled_from(sorted(self.records.items(), key=lambda item: item[0])), label="partition")


async def read_all(queue: SpanQueue, partition: int, offset: int) -> list[Record]:
    """Return every record of a partition from ``offset`` on."""
    records: list[Record] = []
    while more := await queue.read(partition, offset, max_bytes=1 << 22):
        records += more
        offset = records[-1].position.next_offset
    return records


async def stored(queue: SpanQueue, *, expected: int = 0) -> dict[Position, bytes]:
    """Return every record of a queue by position, waiting a little until ``expected`` are there."""
    deadline = time.monotonic() + _SOON_S
    while True:
        found: dict[Position, bytes] = {}
        for partition, begin in (await queue.begin_offsets()).items():
            records = await read_all(queue, partition, begin)
            offsets = [r.position.offset for r in records]
            assert offsets == sorted(set(offsets)), f"partition {partition} is out of order"
            found |= {r.position: r.body for r in records}
        if len(found) >= expected or time.monotonic() > deadline:
            return found
        await anyio.sleep(0.02)


async def append_many(queue: SpanQueue, bodies: Sequence[bytes], headers: Headers = HEADERS) -> dict[Position, bytes]:
    """Append bodies all at once, and return what was acknowledged."""
    acknowledged: dict[Position, bytes] = {}

    async def append(body: bytes) -> None:
        position = await queue.append(headers, body)
        assert position not in acknowledged, f"{position} was given twice"
        acknowledged[position] = body

    async with anyio.create_task_group() as group:
        for body in bodies:
            group.start_soon(append, body)
    return acknowledged


async def _append_to(queue: SpanQueue, partition: int, body: bytes) -> Position:
    """Append until a record lands in ``partition``, where a queue spreads them."""
    for _ in range(1000):
        position = await queue.append(HEADERS, body)
        if position.partition == partition:
            return position
    raise AssertionError(f"none of 1000 records went to partition {partition}")


def _by_partition(positions: Sequence[Position]) -> list[tuple[int, list[Position]]]:
    """Group by partition, in the order given."""
    numbers = sorted({p.partition for p in positions})
    return [(n, [p for p in positions if p.partition == n]) for n in numbers]


_VARIED: list[tuple[Headers, bytes]] = [
    (HEADERS, b""),
    (HEADERS, b"\0" * 100),
    (Headers("", Signal.LOGS, 0), b"no project"),
    (Headers("prøject/☃", Signal.REFUSED, 2**63 - 1), bytes(range(256))),
    (HEADERS, os.urandom(1_000_000)),
]
