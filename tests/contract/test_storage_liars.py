"""A lying storage is caught: each of these breaks one promise, and the contract must fail on it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agenttrace_adapters.memory import MemoryStorage
from agenttrace_contracts.base import Make, opened, run_machine
from agenttrace_contracts.storage import StorageContract, StorageMachine
from agenttrace_core.errors import AlreadyExistsError
from agenttrace_core.model.keys import check_key
from agenttrace_core.ports.storage import ObjectInfo, ObjectStorage, StorageCapabilities

Objects = dict[str, tuple[bytes, int]]


class HonestStorage(MemoryStorage):
    """Keeps every promise, in memory that outlives its instances. The liars differ in one method each."""

    def __init__(self, objects: Objects) -> None:
        super().__init__()
        self._objects = objects

    @property
    def capabilities(self) -> StorageCapabilities:
        return StorageCapabilities(durable=True, multi_process=True)


class ListsAPartialObject(HonestStorage):
    """Writes in place, so that readers see the beginning of an object."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        body = b"".join(data)
        if key not in self._objects:
            await super().put(key, [body[: len(body) // 2]])
            await anyio.sleep(0.01)
            del self._objects[key]
        await super().put(key, [body])


class Overwrites(HonestStorage):
    """Takes the last bytes for the right ones."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        self._objects.pop(check_key(key), None)
        await super().put(key, data)


class ComparesSizes(HonestStorage):
    """Takes bytes of the same length for the same bytes."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        held = self._objects.get(key)
        if held is None or len(held[0]) != sum(map(len, data)):
            await super().put(key, data)


class RefusesARepeat(HonestStorage):
    """Takes every second put for a conflict."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        if check_key(key) in self._objects:
            raise AlreadyExistsError(key)
        await super().put(key, data)


class DropsTheLastBuffer(HonestStorage):
    """Writes as many buffers as one system call takes."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        await super().put(key, data[:1024])


class ListsInOrderOfArrival(HonestStorage):
    """Leaves the sorting to its caller."""

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        for key in list(self._objects):
            if key.startswith(prefix):
                yield ObjectInfo(key, len(self._objects[key][0]), self._objects[key][1])


class ListsFoldersOnly(HonestStorage):
    """Takes a prefix for a folder."""

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        async for info in super().list(prefix):
            if not prefix or prefix.endswith("/") or info.key[len(prefix) :].startswith("/"):
                yield info


class ListsOnePage(HonestStorage):
    """Stops where the first page of an answer ends."""

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        seen = 0
        async for info in super().list(prefix):
            seen += 1
            if seen <= 1000:
                yield info


class CutsRanges(HonestStorage):
    """Returns what there is of a range that leaves the object."""

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        body = await self.get(key)
        return [body[max(0, offset) : max(0, offset + length)] for offset, length in ranges]


class SortsRanges(HonestStorage):
    """Reads in the order of the disk, and answers in it."""

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        return await super().get_ranges(key, sorted(ranges))


class DeletesByPrefix(HonestStorage):
    """Deletes a folder where an object was meant."""

    async def delete(self, key: str) -> None:
        for other in [k for k in self._objects if k.startswith(check_key(key))]:
            await super().delete(other)


class DeletesOnce(HonestStorage):
    """Keeps the bytes of what was deleted, and finds them again when the key is used anew."""

    async def delete(self, key: str) -> None:
        await super().delete(key)
        self._graves = {*getattr(self, "_graves", ()), key}

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        if key in getattr(self, "_graves", ()):
            raise AlreadyExistsError(key)
        await super().put(key, data)


class TrustsKeys(HonestStorage):
    """Stores under whatever it is told."""

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        self._objects[key] = b"".join(data), 0


class LosesItsBuffer(HonestStorage):
    """Acknowledges what it would write at its leisure."""

    async def aclose(self) -> None:
        self._objects.clear()


class SharesNothing(HonestStorage):
    """Declares that other instances see its objects, and keeps them to itself."""

    async def open(self) -> None:
        self._objects = dict(self._objects)


_LIARS: dict[type[HonestStorage], str] = {
    ListsAPartialObject: "test_nothing_is_seen_of_an_object_that_is_not_whole",
    Overwrites: "test_of_racing_puts_one_wins",
    ComparesSizes: "test_of_racing_puts_one_wins",
    RefusesARepeat: "test_the_same_bytes_again_change_nothing",
    DropsTheLastBuffer: "test_many_and_large_buffers",
    ListsInOrderOfArrival: "test_lists_are_in_order_of_keys_and_by_prefix",
    ListsFoldersOnly: "test_lists_are_in_order_of_keys_and_by_prefix",
    ListsOnePage: "test_a_long_list_is_complete",
    SortsRanges: "test_ranges_come_in_the_order_asked",
    DeletesByPrefix: "test_what_is_deleted_is_gone",
    DeletesOnce: "test_a_deleted_key_can_be_put_again",
    LosesItsBuffer: "test_what_was_acknowledged_outlives_the_instance",
    SharesNothing: "test_instances_share_what_is_declared_shared",
}

_CAUGHT_BY_THE_MACHINE = (Overwrites, ComparesSizes, RefusesARepeat, CutsRanges, ListsInOrderOfArrival, DeletesByPrefix)

_RUNS = 20

_PLAIN = [
    name for name, test in vars(StorageContract).items() if name.startswith("test_") and not hasattr(test, "pytestmark")
]


@pytest.mark.parametrize("name", _PLAIN)
def test_an_honest_storage_passes(name: str) -> None:
    """Otherwise the liars below might be caught for something that they do not lie about."""
    _run(name, HonestStorage)


@pytest.mark.parametrize(("liar", "name"), _LIARS.items(), ids=[liar.__name__ for liar in _LIARS])
def test_a_liar_is_caught(liar: type[HonestStorage], name: str) -> None:
    """A contract that a liar passes proves nothing about those who pass it."""
    with pytest.raises((AssertionError, pytest.fail.Exception, AlreadyExistsError, ExceptionGroup)):
        _run(name, liar)


@pytest.mark.parametrize("liar", _CAUGHT_BY_THE_MACHINE)
def test_the_machine_catches_a_liar(liar: type[HonestStorage]) -> None:
    """The machine must reach by itself, within a few runs, what the single tests spell out."""
    with pytest.raises((AssertionError, pytest.fail.Exception, AlreadyExistsError)):
        _run_machine_often(liar)


@pytest.mark.anyio
async def test_one_who_trusts_keys_is_caught() -> None:
    """A storage that stores under ``..`` overwrites files that are not its own."""
    with pytest.raises(pytest.fail.Exception):
        await StorageContract().test_keys_that_lead_astray_are_refused(TrustsKeys({}), "../a")


def _run_machine_often(storage: type[HonestStorage]) -> None:
    for _ in range(_RUNS):
        run_machine(StorageMachine, _maker(storage), shrink=False)


def _run(name: str, storage: type[HonestStorage]) -> None:
    """Run one contract test over fresh stores, as pytest would."""
    test: Callable[..., Any] = getattr(StorageContract(), name)
    make = _maker(storage)
    if not inspect.iscoroutinefunction(test):
        test(make)
        return
    anyio.run(_call, test, make)


async def _call(test: Callable[..., Any], make: Make[ObjectStorage]) -> None:
    if "adapter" not in inspect.signature(test).parameters:
        await test(make)
        return
    async with opened(make("main")) as adapter:
        await test(adapter)


def _maker(storage: type[HonestStorage]) -> Make[ObjectStorage]:
    stores: defaultdict[str, Objects] = defaultdict(dict)
    return lambda name: storage(stores[name])
