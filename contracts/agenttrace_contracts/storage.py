"""The contract of object storage: whole objects, written once, found again.

Keys that are another key's folder are left out: a storage of files cannot hold both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from agenttrace_contracts.base import AdapterMachine, Contract, Make, opened, run_machine
from agenttrace_core.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from agenttrace_core.ports.storage import LocalObjects, ObjectInfo, ObjectStorage

_YEAR_2000_NS = 946_684_800_000_000_000
_LARGE = 8 << 20

BAD_KEYS = (
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\\b", "a b", "a\0b", "a\n", "é", "~a", "a:b",
    "x" * 256, "/".join(["x" * 200] * 6),
)  # fmt: skip
"""Keys that every method must refuse."""


class StorageContract(Contract[ObjectStorage]):
    """Every promise of ``ObjectStorage``."""

    async def test_what_was_put_is_got(self, adapter: ObjectStorage) -> None:
        """A storage that changes a byte loses spans silently."""
        parts: list[memoryview | bytes] = [b"one", b"", memoryview(b"-two-"), memoryview(bytearray(b"three"))]
        await adapter.put("a/b=1/c_d.e-f", parts)
        assert await adapter.get("a/b=1/c_d.e-f") == b"one-two-three"

    async def test_many_and_large_buffers(self, adapter: ObjectStorage) -> None:
        """A file set is written from thousands of Arrow buffers, more than one system call takes."""
        parts = [bytes([n % 251]) * (n % 7) for n in range(5000)] + [b"x" * _LARGE]
        await adapter.put("many", parts)
        assert await adapter.get("many") == b"".join(parts)

    @pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
    async def test_empty_objects(self, adapter: ObjectStorage, parts: Sequence[bytes]) -> None:
        """An object of no bytes is an object."""
        await adapter.put("empty", parts)
        assert await adapter.get("empty") == b""
        assert [(info.key, info.size) for info in await _listed(adapter)] == [("empty", 0)]

    async def test_the_same_bytes_again_change_nothing(self, adapter: ObjectStorage) -> None:
        """A writer that was killed after its upload repeats it, cut into other buffers perhaps."""
        await adapter.put("a", [b"one", b"two"])
        (before,) = await _listed(adapter)
        await adapter.put("a", [b"onet", b"wo"])
        assert await _listed(adapter) == [before]

    @pytest.mark.parametrize("other", [b"onetwO", b"onetw", b"onetwo!", b""])
    async def test_other_bytes_are_refused_and_the_first_are_kept(self, adapter: ObjectStorage, other: bytes) -> None:
        """An object that is overwritten changes under the readers who have its footer."""
        await adapter.put("a", [b"onetwo"])
        with pytest.raises(AlreadyExistsError):
            await adapter.put("a", [other])
        assert await adapter.get("a") == b"onetwo"

    async def test_of_racing_puts_one_wins(self, adapter: ObjectStorage) -> None:
        """Two writers of one id must not both believe that theirs was stored."""
        won: list[bytes] = []

        async def put(body: bytes) -> None:
            try:
                await adapter.put("raced", [body])
            except AlreadyExistsError:
                return
            won.append(body)

        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(put, bytes([n]) * 100_000)
        assert won == [await adapter.get("raced")]

    async def test_racing_puts_of_the_same_bytes_all_succeed(self, adapter: ObjectStorage) -> None:
        """A replay beside a slow upload of the same file is no conflict."""
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(adapter.put, "raced", [b"same" * 50_000])
        assert await adapter.get("raced") == b"same" * 50_000

    async def test_nothing_is_seen_of_an_object_that_is_not_whole(self, adapter: ObjectStorage) -> None:
        """Half a Parquet file read as a whole one is an error to its reader, or wrong sums."""
        body = b"whole!!!" * (_LARGE // 8)
        done = anyio.Event()

        async def put() -> None:
            await adapter.put("slow", [body])
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            while not done.is_set():
                assert [info.size for info in await _listed(adapter)] in ([], [len(body)])
                assert await _got(adapter, "slow") in (None, body)
                await anyio.lowlevel.checkpoint()
        assert await adapter.get("slow") == body

    async def test_an_unknown_object_is_not_found(self, adapter: ObjectStorage) -> None:
        """Empty bytes in place of a missing object would read as a damaged one."""
        await adapter.put("a/b", [b"x"])
        for key in ("b", "a", "a/b/c", "a/bb"):
            with pytest.raises(NotFoundError):
                await adapter.get(key)
            with pytest.raises(NotFoundError):
                await adapter.get_ranges(key, [(0, 1)])

    async def test_ranges_come_in_the_order_asked(self, adapter: ObjectStorage) -> None:
        """Row groups that change places give one span the payload of another."""
        await adapter.put("digits", [b"0123456789"])
        ranges = [(8, 2), (0, 3), (2, 3), (2, 3), (5, 0), (10, 0), (0, 10)]
        found = [bytes(part) for part in await adapter.get_ranges("digits", ranges)]
        assert found == [b"89", b"012", b"234", b"234", b"", b"", b"0123456789"]
        assert list(await adapter.get_ranges("digits", [])) == []

    @pytest.mark.parametrize("wrong", [(0, 11), (10, 1), (11, 0), (-1, 2), (3, -1)])
    async def test_a_range_that_leaves_the_object_is_refused(
        self, adapter: ObjectStorage, wrong: tuple[int, int]
    ) -> None:
        """Bytes that are short are decoded as something else."""
        await adapter.put("digits", [b"0123456789"])
        with pytest.raises(InvalidInputError):
            await adapter.get_ranges("digits", [(0, 1), wrong])

    async def test_lists_are_in_order_of_keys_and_by_prefix(self, adapter: ObjectStorage) -> None:
        """The collector of orphans compares two sorted lists; a key out of order is a file deleted."""
        keys = ["a-b/x", "a.b", "a/b/c", "a/b-c", "a/b.c", "a0", "aa/b", "b/1", "b/10", "b/2", "Z"]
        for key in keys:
            await adapter.put(key, [key.encode()])
        for prefix in ("", "a", "a/", "a/b", "a/b/", "b/1", "aa/b", "a-", "c", "Z"):
            found = [info.key for info in await _listed(adapter, prefix)]
            assert found == sorted(key for key in keys if key.startswith(prefix)), prefix

    async def test_lists_tell_size_and_age(self, adapter: ObjectStorage) -> None:
        """Retention and metrics count by what a list says."""
        await adapter.put("a", [b"four"])
        (info,) = await _listed(adapter)
        assert (info.key, info.size) == ("a", 4)
        assert info.modified_ns > _YEAR_2000_NS

    async def test_a_long_list_is_complete(self, adapter: ObjectStorage) -> None:
        """A listing that stops at its first page hides the rest for ever."""
        keys = [f"n/{n:05d}" for n in range(2500)]
        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(adapter.put, key, [b""])
        assert [info.key for info in await _listed(adapter, "n/")] == keys

    async def test_what_is_deleted_is_gone(self, adapter: ObjectStorage) -> None:
        """Erasure is promised to people; a neighbour's object is not part of it."""
        await adapter.put("a/b", [b"x"])
        await adapter.put("a/c", [b"y"])
        await adapter.delete("a/b")
        await adapter.delete("a/b")
        await adapter.delete("never/there")
        await adapter.delete("a")
        assert await _got(adapter, "a/b") is None
        assert [info.key for info in await _listed(adapter)] == ["a/c"]
        await adapter.delete("a/c")
        assert await _listed(adapter) == []

    async def test_a_deleted_key_can_be_put_again(self, adapter: ObjectStorage) -> None:
        """A replayed flush may name a key that was collected meanwhile."""
        await adapter.put("a/b", [b"old"])
        await adapter.delete("a/b")
        await adapter.put("a/b", [b"new"])
        assert await adapter.get("a/b") == b"new"

    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_keys_that_lead_astray_are_refused(self, adapter: ObjectStorage, key: str) -> None:
        """A key is made of names that a sender chose; one that leaves the storage overwrites a stranger's file."""
        with pytest.raises(InvalidInputError):
            await adapter.put(key, [b"x"])
        with pytest.raises(InvalidInputError):
            await adapter.get(key)
        with pytest.raises(InvalidInputError):
            await adapter.get_ranges(key, [])
        with pytest.raises(InvalidInputError):
            await adapter.delete(key)
        assert await _listed(adapter) == []

    async def test_what_was_acknowledged_outlives_the_instance(self, make: Make[ObjectStorage]) -> None:
        """The log is trimmed once its spans are in objects: those are all that is left of them."""
        async with opened(make("kept")) as first:
            await first.put("a/b", [b"x"])
            is_durable = first.capabilities.durable
        async with opened(make("kept")) as second:
            assert await _got(second, "a/b") == (b"x" if is_durable else None)

    async def test_instances_share_what_is_declared_shared(self, make: Make[ObjectStorage]) -> None:
        """A query process reads what the writer process stored."""
        async with opened(make("shared")) as one, opened(make("shared")) as other:
            await one.put("a/b", [b"x"])
            assert await _got(other, "a/b") == (b"x" if one.capabilities.multi_process else None)
            await other.delete("a/b")
            assert await _got(one, "a/b") == (None if one.capabilities.multi_process else b"x")

    async def test_stores_are_apart(self, make: Make[ObjectStorage]) -> None:
        """Two deployments side by side must not meet."""
        async with opened(make("one")) as one, opened(make("other")) as other:
            await one.put("a", [b"x"])
            assert await _listed(other) == []

    async def test_local_paths_hold_the_bytes(self, adapter: ObjectStorage) -> None:
        """Engines that read files by themselves are given these paths."""
        if not isinstance(adapter, LocalObjects):
            assert not hasattr(adapter, "local_path")
            return
        await adapter.put("a/b", [b"x", b"y"])
        assert await anyio.Path(adapter.local_path("a/b")).read_bytes() == b"xy"
        for key in BAD_KEYS:
            with pytest.raises(InvalidInputError):
                adapter.local_path(key)

    async def test_closing_twice_or_unopened_is_harmless(self, make: Make[ObjectStorage]) -> None:
        """A start that fails half-way closes whatever it holds."""
        await make("main").aclose()
        async with opened(make("main")) as adapter:
            await adapter.aclose()

    def test_any_order_of_calls(self, make: Make[ObjectStorage]) -> None:
        """Whatever comes in whatever order, it behaves as a dictionary that never overwrites."""
        run_machine(StorageMachine, make)


_keys = st.sampled_from(["a", "a-b", "a0", "b/1", "b/1-2", "b/10", "b/2/x", "c/d/e"])
_bodies = st.lists(st.sampled_from([b"one", b"two", b"three", b""]) | st.binary(max_size=20), max_size=3)


class StorageMachine(AdapterMachine[ObjectStorage]):
    """Puts, reads and deletes against a dictionary."""

    examples = 30

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.model: dict[str, bytes] = {}

    @initialize()
    def begin_empty(self) -> None:
        """A store that the machine was given is empty."""
        assert self.run(_listed, self.adapter) == []

    @rule(key=_keys, parts=_bodies)
    def put(self, key: str, parts: list[bytes]) -> None:
        """Store, again or anew; other bytes are refused."""
        body = b"".join(parts)
        if self.model.get(key, body) != body:
            with pytest.raises(AlreadyExistsError):
                self.run(self.adapter.put, key, parts)
            return
        self.run(self.adapter.put, key, parts)
        self.model[key] = body

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data())
    def put_as_long(self, data: st.DataObject) -> None:
        """Store other bytes, as many, where there are some; they are refused."""
        key = data.draw(st.sampled_from(sorted(key for key, body in self.model.items() if body)))
        body = self.model[key]
        with pytest.raises(AlreadyExistsError):
            self.run(self.adapter.put, key, [bytes([body[0] ^ 1]), body[1:]])

    @rule(key=_keys)
    def delete(self, key: str) -> None:
        """Remove, whether or not it is there."""
        self.run(self.adapter.delete, key)
        self.model.pop(key, None)

    @rule(key=_keys, offset=st.integers(-1, 25), length=st.integers(-1, 25))
    def get_range(self, key: str, offset: int, length: int) -> None:
        """Read a part; what leaves the object is refused."""
        body = self.model.get(key)
        ranges = [(offset, length)]
        if body is None:
            with pytest.raises(NotFoundError):
                self.run(self.adapter.get_ranges, key, ranges)
        elif offset < 0 or length < 0 or offset + length > len(body):
            with pytest.raises(InvalidInputError):
                self.run(self.adapter.get_ranges, key, ranges)
        else:
            assert list(self.run(self.adapter.get_ranges, key, ranges)) == [body[offset : offset + length]]

    @rule(prefix=st.sampled_from(["", "a", "b/", "b/1", "b/2/", "c/d", "z"]))
    def list_prefix(self, prefix: str) -> None:
        """List what begins with a prefix."""
        found = [(info.key, info.size) for info in self.run(_listed, self.adapter, prefix)]
        assert found == sorted((key, len(body)) for key, body in self.model.items() if key.startswith(prefix))

    @precondition(lambda self: self.adapter.capabilities.durable)
    @rule()
    def restart(self) -> None:
        """Close, and open another instance over the same store."""
        self.reopen()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """All objects, whole, and no others."""
        found = {info.key: info.size for info in self.run(_listed, self.adapter)}
        assert found == {key: len(body) for key, body in self.model.items()}
        for key, body in self.model.items():
            assert self.run(self.adapter.get, key) == body


async def _listed(storage: ObjectStorage, prefix: str = "") -> list[ObjectInfo]:
    return [info async for info in storage.list(prefix)]


async def _got(storage: ObjectStorage, key: str) -> bytes | None:
    try:
        return await storage.get(key)
    except NotFoundError:
        return None
