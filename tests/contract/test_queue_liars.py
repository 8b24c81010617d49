"""A lying queue is caught: each of these breaks one promise, and the contract must fail on it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self
from uuid import UUID, uuid4

import anyio
import anyio.lowlevel
import pytest

from agenttrace_contracts.base import Make, opened, run_machine
from agenttrace_contracts.queue import QueueContract, QueueMachine
from agenttrace_core.errors import PayloadTooLargeError
from agenttrace_core.ports.queue import Headers, Position, QueueCapabilities, Record, SpanQueue


@dataclass
class Store:
    """What outlives an instance. Every instance of one name shares it."""

    queue_id: UUID = field(default_factory=uuid4)
    records: list[Record] = field(default_factory=list[Record])
    begin: int = 0
    end: int = 0


class HonestQueue(SpanQueue):
    """Keeps every promise, in memory that outlives its instances. The liars differ in one method each."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def from_url(cls, url: str) -> Self:  # noqa: ARG003 - the port's argument
        return cls(Store())

    @property
    def capabilities(self) -> QueueCapabilities:
        return QueueCapabilities(
            durable=True,
            multi_process=True,
            multi_machine=False,
            addressable=False,
            byte_offsets=True,
            max_record_bytes=1 << 20,
        )

    @property
    def queue_id(self) -> UUID:
        return self.store.queue_id

    async def open(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        if len(body) > self.capabilities.max_record_bytes:
            raise PayloadTooLargeError("too large")
        await anyio.lowlevel.checkpoint()
        return self.keep(headers, body)

    def keep(self, headers: Headers, body: bytes) -> Position:
        position = Position(0, self.store.end, self.store.end + len(body) + 1)
        self.store.records.append(Record(position, headers, body))
        self.store.end = position.next_offset
        return position

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        with anyio.move_on_after(wait_s):
            while self.store.end <= offset:
                await anyio.sleep(0.005)
        found: list[Record] = []
        for record in self.store.records:
            if record.position.offset < offset:
                continue
            max_bytes -= len(record.body)
            if found and max_bytes < 0:
                break
            found.append(record)
        return found

    async def begin_offsets(self) -> Mapping[int, int]:
        return {0: self.store.begin}

    async def end_offsets(self) -> Mapping[int, int]:
        return {0: self.store.end}

    async def trim(self, partition: int, offset: int) -> None:
        self.store.records = [r for r in self.store.records if r.position.offset >= offset]
        self.store.begin = max(self.store.begin, offset)


class LosesSome(HonestQueue):
    """Acknowledges a record that it drops, once in a while."""

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        position = await super().append(headers, body, partition=partition)
        if len(self.store.records) % 7 == 6:
            self.store.records.pop()
        return position


class StoresTwice(HonestQueue):
    """Retries inside, without an idempotent producer."""

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        await super().append(headers, body, partition=partition)
        return await super().append(headers, body, partition=partition)


class Reorders(HonestQueue):
    """Gives offsets in another order than that of the acknowledgements."""

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        position = await super().append(headers, body, partition=partition)
        return replace(position, offset=1_000_000 - position.offset, next_offset=1_000_001 - position.offset)


class ReadsBackwards(HonestQueue):
    """Returns the newest first."""

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        return (await super().read(partition, offset, max_bytes=max_bytes, wait_s=wait_s))[::-1]


class Tears(HonestQueue):
    """Stores the beginning of a large body."""

    def keep(self, headers: Headers, body: bytes) -> Position:
        return super().keep(headers, body[:65_536])


class RoundsTimes(HonestQueue):
    """Keeps times in milliseconds."""

    def keep(self, headers: Headers, body: bytes) -> Position:
        return super().keep(replace(headers, received_ns=headers.received_ns // 1_000_000 * 1_000_000), body)


class SkipsEmpty(HonestQueue):
    """Takes an empty body for nothing."""

    def keep(self, headers: Headers, body: bytes) -> Position:
        return super().keep(headers, body) if body else Position(0, self.store.end, self.store.end)


class ShowsBeforeDurable(HonestQueue):
    """Lets readers see what is still in a buffer, and what a crash (here: hanging up) takes back."""

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        position = self.keep(headers, body)
        try:
            await anyio.sleep(0.01)
        except BaseException:
            self.store.records = [r for r in self.store.records if r.position != position]
            raise
        return position


class AcknowledgesBeforeDurable(HonestQueue):
    """Loses at restart what was in its buffer."""

    async def aclose(self) -> None:
        if len(self.store.records) > 1:
            self.store.end = self.store.records.pop().position.offset


class NewIdAtRestart(HonestQueue):
    """Says that it is another queue whenever it is opened."""

    async def open(self) -> None:
        self.store.queue_id = uuid4()


class StartsOverWhenEmpty(HonestQueue):
    """Counts from 0 again once everything was trimmed."""

    async def trim(self, partition: int, offset: int) -> None:
        await super().trim(partition, offset)
        if not self.store.records:
            self.store.begin = self.store.end = 0


class TrimsTooMuch(HonestQueue):
    """Forgets the record at the watermark as well."""

    async def trim(self, partition: int, offset: int) -> None:
        await super().trim(partition, offset + 1)


class ReadsWithoutBound(HonestQueue):
    """Takes ``max_bytes`` for advice."""

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        return await super().read(partition, offset, max_bytes=1 << 40, wait_s=wait_s)


class GetsStuck(HonestQueue):
    """Returns nothing where the next record exceeds ``max_bytes``."""

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        found = await super().read(partition, offset, max_bytes=max_bytes, wait_s=wait_s)
        return [r for r in found if len(r.body) <= max_bytes]


class NeverWaits(HonestQueue):
    """Returns at once, whatever ``wait_s`` says."""

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        return await super().read(partition, offset, max_bytes=max_bytes)


class TellsAnEarlierEnd(HonestQueue):
    """Says that it ends before its last record, so that a lag looks smaller than it is."""

    async def end_offsets(self) -> Mapping[int, int]:
        return {0: max(0, self.store.end - 1)}


class TakesAnySize(HonestQueue):
    """Declares a bound and does not keep to it."""

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        return self.keep(headers, body)


class SharesNothing(HonestQueue):
    """Declares that other instances read along, and keeps its records to itself."""

    async def open(self) -> None:
        self.store = replace(self.store, records=list(self.store.records))


class ForgetsItsTrim(HonestQueue):
    """Loses its newest record when it is opened after a trim: a fault between operations that work alone."""

    async def open(self) -> None:
        if self.store.begin and self.store.records:
            self.store.records.pop()


class RemembersTheEnd(HonestQueue):
    """Asks for the end once in a while, and tells what it was."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.known = 0

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        position = await super().append(headers, body, partition=partition)
        self.known = position.next_offset
        return position

    async def end_offsets(self) -> Mapping[int, int]:
        return {0: self.known}


class IsOfManyMachinesAlone(HonestQueue):
    """Declares that other machines read along, and forgets that its processes are on some."""

    @property
    def capabilities(self) -> QueueCapabilities:
        return replace(super().capabilities, multi_machine=True, multi_process=False)


class PutsItAnywhere(HonestQueue):
    """Declares that it obeys a partition, and takes one that it does not have."""

    @property
    def capabilities(self) -> QueueCapabilities:
        return replace(super().capabilities, addressable=True)


_LIARS: dict[type[HonestQueue], str] = {
    LosesSome: "test_appends_under_way_at_once_are_all_kept_once",
    StoresTwice: "test_appends_under_way_at_once_are_all_kept_once",
    Reorders: "test_offsets_grow_in_the_order_of_acknowledgement",
    ReadsBackwards: "test_reading_goes_on_from_any_offset_that_was_given",
    Tears: "test_a_record_reads_back_as_it_was_appended",
    RoundsTimes: "test_a_record_reads_back_as_it_was_appended",
    SkipsEmpty: "test_a_record_reads_back_as_it_was_appended",
    ShowsBeforeDurable: "test_what_was_read_is_never_taken_back",
    AcknowledgesBeforeDurable: "test_durable_records_survive_being_opened_again",
    NewIdAtRestart: "test_durable_records_survive_being_opened_again",
    StartsOverWhenEmpty: "test_offsets_never_go_back",
    TrimsTooMuch: "test_trim_keeps_what_is_at_or_above",
    ReadsWithoutBound: "test_a_read_is_bounded_and_makes_progress",
    GetsStuck: "test_a_read_is_bounded_and_makes_progress",
    NeverWaits: "test_waiting_ends",
    TellsAnEarlierEnd: "test_begin_and_end_enclose_every_record",
    TakesAnySize: "test_a_body_above_the_bound_is_refused_and_not_stored",
    SharesNothing: "test_another_instance_reads_along_where_declared",
    RemembersTheEnd: "test_another_instance_sees_at_once_what_was_acknowledged_where_declared",
    IsOfManyMachinesAlone: "test_what_several_machines_share_several_processes_do",
    PutsItAnywhere: "test_a_partition_that_is_not_there_is_refused_where_declared",
}


@pytest.mark.parametrize("name", [n for n in vars(QueueContract) if n.startswith("test_")])
def test_an_honest_queue_passes(name: str) -> None:
    """Otherwise the liars below might be caught for something that they do not lie about."""
    _run(name, HonestQueue)


@pytest.mark.parametrize(("liar", "name"), _LIARS.items(), ids=[liar.__name__ for liar in _LIARS])
def test_a_liar_is_caught(liar: type[HonestQueue], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract that a liar passes proves nothing about those who pass it."""
    monkeypatch.setattr("agenttrace_contracts.queue._SOON_S", 0.2)
    with pytest.raises((AssertionError, pytest.fail.Exception, ExceptionGroup)):
        _run(name, liar)


def test_a_fault_between_operations_is_caught_by_the_machine() -> None:
    """Each operation of this one works alone; only a sequence of them shows the loss."""
    for name in ("test_durable_records_survive_being_opened_again", "test_trim_keeps_what_is_at_or_above"):
        _run(name, ForgetsItsTrim)
    with pytest.raises(AssertionError):
        _run_machine_often(ForgetsItsTrim)


def _run_machine_often(queue: type[HonestQueue]) -> None:
    for _ in range(8):
        run_machine(QueueMachine, _maker(queue), shrink=False)


def _run(name: str, queue: type[HonestQueue]) -> None:
    """Run one contract test over fresh stores, as pytest would."""
    test: Callable[..., Any] = getattr(QueueContract(), name)
    make = _maker(queue)
    if not inspect.iscoroutinefunction(test):
        test(make)
        return
    anyio.run(_with_adapter if "adapter" in inspect.signature(test).parameters else _call, test, make)


async def _call(test: Callable[[Make[SpanQueue]], Awaitable[None]], make: Make[SpanQueue]) -> None:
    await test(make)


async def _with_adapter(test: Callable[[SpanQueue], Awaitable[None]], make: Make[SpanQueue]) -> None:
    async with opened(make("main")) as adapter:
        await test(adapter)


def _maker(queue: type[HonestQueue]) -> Make[SpanQueue]:
    stores: defaultdict[str, Store] = defaultdict(Store)
    return lambda name: queue(stores[name])
