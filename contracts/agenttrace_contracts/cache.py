"""The contract of the cache: what is found is what was put last, whole, and not for longer than asked.

A cache may forget at any time; one that is all but empty is expected not to.
"""

from __future__ import annotations

import anyio
import anyio.lowlevel

from agenttrace_contracts.base import Contract, Make, opened
from agenttrace_core.ports.cache import MAX_VALUE_BYTES, Cache

_LONG_S = 600.0


class CacheContract(Contract[Cache]):
    """Every promise of ``Cache``. Instances of one name find each other's values, where that is declared."""

    async def test_what_was_put_is_found(self, adapter: Cache) -> None:
        """A cache that never finds anything costs a round and saves none; one that changes bytes is worse."""
        values = {"all": bytes(range(256)), "empty": b"", "text": "é\n".encode(), "zeros": b"\0" * 1000}
        for key, value in values.items():
            await adapter.put(key, value, ttl_s=_LONG_S)
        assert await adapter.get(values) == values
        assert await adapter.get(["all"]) == {"all": values["all"]}

    async def test_what_was_not_put_is_not_found(self, adapter: Cache) -> None:
        """Empty bytes in place of nothing would be read as a value."""
        await adapter.put("a", b"1", ttl_s=_LONG_S)
        assert await adapter.get(["b", "a", "A", "a ", ""]) == {"a": b"1"}
        assert await adapter.get(["b"]) == {}
        assert await adapter.get([]) == {}

    async def test_any_text_is_a_key(self, adapter: Cache) -> None:
        """Two keys that become one give a reader another's bytes."""
        keys = ["a b", "a\nb", "a:b", "a*", "{a}b", "é", "e\u0301", "a" * 1000, "a" * 999 + "b", "a/b", "%61"]
        for n, key in enumerate(keys):
            await adapter.put(key, b"%d" % n, ttl_s=_LONG_S)
        assert await adapter.get(keys) == {key: b"%d" % n for n, key in enumerate(keys)}

    async def test_a_later_value_takes_the_place(self, adapter: Cache) -> None:
        """What was looked up anew is what holds."""
        for value in (b"one", b"", b"three"):
            await adapter.put("a", value, ttl_s=_LONG_S)
            assert await adapter.get(["a"]) == {"a": value}

    async def test_a_value_ends_with_its_time(self, adapter: Cache) -> None:
        """What is never forgotten is never corrected."""
        await adapter.put("short", b"1", ttl_s=0.2)
        await adapter.put("long", b"2", ttl_s=_LONG_S)
        await anyio.sleep(0.4)
        assert await adapter.get(["short", "long"]) == {"long": b"2"}

    async def test_a_later_value_has_a_time_of_its_own(self, adapter: Cache) -> None:
        """Neither may a renewed value end with the old one's time, nor outlive a shorter one of its own."""
        await adapter.put("renewed", b"1", ttl_s=0.2)
        await adapter.put("renewed", b"2", ttl_s=_LONG_S)
        await adapter.put("shortened", b"1", ttl_s=_LONG_S)
        await adapter.put("shortened", b"2", ttl_s=0.2)
        await anyio.sleep(0.4)
        assert await adapter.get(["renewed", "shortened"]) == {"renewed": b"2"}

    async def test_too_long_a_value_is_not_kept(self, adapter: Cache) -> None:
        """A few of them would push out all else. The earlier value is not the right one any more."""
        await adapter.put("most", b"x" * MAX_VALUE_BYTES, ttl_s=_LONG_S)
        assert await adapter.get(["most"]) == {"most": b"x" * MAX_VALUE_BYTES}
        await adapter.put("most", b"x" * (MAX_VALUE_BYTES + 1), ttl_s=_LONG_S)
        assert await adapter.get(["most"]) == {}

    async def test_a_value_is_found_whole_or_not_at_all(self, adapter: Cache) -> None:
        """Half a value of one and half of another is read as one that nobody put."""
        bodies = [bytes([n]) * 100_000 for n in range(1, 5)]

        async def put(body: bytes) -> None:
            for _ in range(10):
                await adapter.put("raced", body, ttl_s=_LONG_S)

        async with anyio.create_task_group() as tasks:
            for body in bodies:
                tasks.start_soon(put, body)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
                found = await adapter.get(["raced"])
                assert found.get("raced", bodies[0]) in bodies
        assert (await adapter.get(["raced"]))["raced"] in bodies

    async def test_instances_share_what_is_declared_shared(self, make: Make[Cache]) -> None:
        """Sharing is what one pays the round to another machine for."""
        async with opened(make("main")) as one, opened(make("main")) as two:
            await one.put("a", b"1", ttl_s=_LONG_S)
            assert await two.get(["a"]) == ({"a": b"1"} if one.capabilities.shared else {})

    async def test_stores_are_apart(self, make: Make[Cache]) -> None:
        """Two deployments on one server must not read each other's values."""
        async with opened(make("one")) as one, opened(make("two")) as two:
            await one.put("a", b"1", ttl_s=_LONG_S)
            assert await two.get(["a"]) == {}

    async def test_closing_is_idempotent(self, make: Make[Cache]) -> None:
        """A part that could not start closes what it never opened."""
        adapter = make("main")
        await adapter.aclose()
        adapter = make("main")
        await adapter.open()
        await adapter.aclose()
        await adapter.aclose()
