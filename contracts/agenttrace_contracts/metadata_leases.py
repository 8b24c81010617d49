"""The leases' part of the metadata contract: one holder at a time, until it ends or gives up."""

from __future__ import annotations

import anyio

from agenttrace_contracts.base import Contract, Make, opened
from agenttrace_core.ports.catalog import MetadataStore

_LONG_S = 3600.0
_SHORT_S = 0.5


class LeasesContract(Contract[MetadataStore]):
    """Every promise of ``Leases``. Part of ``MetadataContract``."""

    async def test_a_lease_has_one_holder(self, adapter: MetadataStore) -> None:
        """Work that two do at once is done twice for nothing, and one of them loses it."""
        assert await adapter.lease("write/0", "a", ttl_s=_LONG_S)
        assert not await adapter.lease("write/0", "b", ttl_s=_LONG_S)
        assert await adapter.lease("write/1", "b", ttl_s=_LONG_S)
        assert dict(await adapter.leases()) == {"write/0": "a", "write/1": "b"}

    async def test_of_racing_holders_one_gets_it(self, adapter: MetadataStore) -> None:
        """Ten processes that start at once must not all believe that it is theirs."""
        taken: list[str] = []

        async def take(holder: str) -> None:
            if await adapter.lease("compact", holder, ttl_s=_LONG_S):
                taken.append(holder)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(take, f"h{number}")
        assert dict(await adapter.leases()) == {"compact": taken[0]}
        assert len(taken) == 1

    async def test_a_lease_ends_by_itself(self, adapter: MetadataStore) -> None:
        """A holder that was killed gives nothing back: what it did must go on without it."""
        assert await adapter.lease("write/0", "killed", ttl_s=_SHORT_S)
        assert not await adapter.lease("write/0", "next", ttl_s=_LONG_S)
        await anyio.sleep(_SHORT_S * 1.5)
        assert dict(await adapter.leases()) == {}
        assert await adapter.lease("write/0", "next", ttl_s=_LONG_S)
        assert not await adapter.lease("write/0", "killed", ttl_s=_LONG_S)
        assert dict(await adapter.leases()) == {"write/0": "next"}

    async def test_a_holder_may_renew(self, adapter: MetadataStore) -> None:
        """A holder that is alive keeps what it has, for as long as it says so in time."""
        for _ in range(4):
            assert await adapter.lease("write/0", "a", ttl_s=_SHORT_S)
            await anyio.sleep(_SHORT_S / 2)
        assert not await adapter.lease("write/0", "b", ttl_s=_LONG_S)

    async def test_renewing_may_shorten(self, adapter: MetadataStore) -> None:
        """The end is that of the last renewal, not the furthest that was ever asked for."""
        assert await adapter.lease("write/0", "a", ttl_s=_LONG_S)
        assert await adapter.lease("write/0", "a", ttl_s=0)
        assert await adapter.lease("write/0", "b", ttl_s=_LONG_S)

    async def test_only_its_holder_gives_a_lease_up(self, adapter: MetadataStore) -> None:
        """A process that was suspended past its lease's end must not give up what is another's by now."""
        assert await adapter.lease("write/0", "a", ttl_s=_LONG_S)
        await adapter.release("write/0", "b")
        await adapter.release("write/1", "a")
        assert not await adapter.lease("write/0", "b", ttl_s=_LONG_S)
        for _ in range(2):
            await adapter.release("write/0", "a")
        assert dict(await adapter.leases()) == {}
        assert await adapter.lease("write/0", "b", ttl_s=_LONG_S)

    async def test_leases_by_the_beginning_of_their_names(self, adapter: MetadataStore) -> None:
        """Writers count each other by it: a name too many, and nobody writes a partition."""
        names = ["write/0", "write/10", "write_0", "Write/0", "writer", "a%", "ab"]
        for name in names:
            assert await adapter.lease(name, "h", ttl_s=_LONG_S)
        assert set(await adapter.leases("write/")) == {"write/0", "write/10"}
        assert set(await adapter.leases("write_")) == {"write_0"}
        assert set(await adapter.leases("a%")) == {"a%"}
        assert set(await adapter.leases()) == set(names)

    async def test_leases_are_no_commits(self, adapter: MetadataStore) -> None:
        """They are renewed all the time: readers would read the catalog each time."""
        version = await adapter.version()
        await adapter.lease("write/0", "a", ttl_s=_LONG_S)
        await adapter.release("write/0", "a")
        assert await adapter.version() == version

    async def test_leases_are_shared(self, make: Make[MetadataStore]) -> None:
        """The other holder is another process, often on another machine."""
        async with opened(make("leased")) as one, opened(make("leased")) as other:
            assert await one.lease("write/0", "a", ttl_s=_LONG_S)
            is_shared = one.capabilities.multi_process
            assert await other.lease("write/0", "b", ttl_s=_LONG_S) is not is_shared
            assert dict(await other.leases()) == {"write/0": "a" if is_shared else "b"}
