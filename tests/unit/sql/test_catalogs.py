"""What catalogs in SQL promise beyond the contract: bounds, and reading by difference."""

from __future__ import annotations

import pytest

from agenttrace_adapters.sql import LetterBounds, SqlCatalog
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE, a_file, a_letter, keys_of, replaced_rows, told
from agenttrace_core.errors import NotFoundError, UnavailableError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.catalog import Commit
from tests.unit.sql.conftest import MakeCatalog

pytestmark = pytest.mark.anyio

_DAY_NS = 86_400 * 10**9


async def _flush(catalog: SqlCatalog, number: int) -> int:
    file = a_file(number)
    await catalog.register(file.id, list(file.objects.values()))
    return await catalog.commit(Commit(QUEUE, [], [file]))


async def test_a_snapshot_read_by_difference_equals_one_read_whole(make_catalog: MakeCatalog) -> None:
    """A query process that has run for a week must see what one that has just started sees."""
    async with opened(make_catalog()) as writer, opened(make_catalog()) as old:
        for number in range(40):
            version = await _flush(writer, number)
            superseded = [replaced_rows(a_file(number).id, [n], f"p{n % 2}") for n in (0, 1)]
            await writer.commit(Commit(QUEUE, [], superseded=superseded))
            await writer.commit(Commit(QUEUE, [], superseded=[replaced_rows(a_file(number).id, [number + 2])]))
            if number % 5 == 4:
                dead = [a_file(n).id for n in (number - 1, number - 3)]
                await writer.replace(dead, [], version=version + 2)
            if number % 3:
                await old.snapshot()
        async with opened(make_catalog()) as new:
            seen, whole = await old.snapshot(), await new.snapshot()
        assert seen.files == whole.files
        assert told(seen.superseded) == told(whole.superseded)
        assert len({(s.file_id, s.project) for s in whole.superseded}) == len(whole.superseded)


async def test_an_unchanged_snapshot_is_the_same_object(make_catalog: MakeCatalog) -> None:
    """Readers keep caches by snapshot, and ask before every query."""
    async with opened(make_catalog()) as catalog:
        await _flush(catalog, 1)
        assert await catalog.snapshot() is await catalog.snapshot()


async def test_a_reader_that_slept_for_months_reads_everything_again(make_catalog: MakeCatalog) -> None:
    """Dead files are forgotten after a month; a reader that never heard of their death would keep them."""
    now = [10**18]
    async with opened(make_catalog(clock=lambda: now[0])) as writer, opened(make_catalog()) as sleeper:
        version = await _flush(writer, 1)
        assert len((await sleeper.snapshot()).files) == 1
        await writer.replace([a_file(1).id], [], version=version)
        now[0] += 31 * _DAY_NS
        await writer.forget(keys_of(a_file(1)))
        assert (await sleeper.snapshot()).files == ()


async def test_grace_is_counted_from_death(make_catalog: MakeCatalog) -> None:
    """A query that began before a merge reads the old files until it ends."""
    now = [10**18]
    async with opened(make_catalog(clock=lambda: now[0])) as catalog:
        version = await _flush(catalog, 1)
        now[0] += 10 * _DAY_NS
        await catalog.replace([a_file(1).id], [], version=version)
        now[0] += 59 * 10**9
        assert await catalog.condemned(grace_s=60) == []
        now[0] += 2 * 10**9
        assert [o.key for o in await catalog.condemned(grace_s=60)] == sorted(keys_of(a_file(1)))


async def test_bodies_are_bounded(make_catalog: MakeCatalog) -> None:
    """The memory of what was written must not grow for ever."""
    async with opened(make_catalog(bodies=100)) as catalog:
        for n in range(30):
            await catalog.commit(Commit(QUEUE, [], bodies=[(10 * n + k).to_bytes(16, "big") for k in range(10)]))
        kept = [int.from_bytes(body, "big") for body in await catalog.bodies(1000)]
        assert kept == list(range(300 - len(kept), 300))
        assert 100 <= len(kept) <= 110


async def test_letters_are_bounded_by_number_and_age(make_catalog: MakeCatalog) -> None:
    """A sender that is refused all day must not fill the disk, nor push out another project's letters."""
    now = [a_letter("x").received_ns]
    bounds = LetterBounds(number=5, age_s=3600)
    async with opened(make_catalog(clock=lambda: now[0], bounds=bounds)) as catalog:
        stored = StoredObject("dead-letters/0", 1, "00")
        letters = [a_letter(f"0-{n}", received=n, stored=None if n else stored) for n in range(8)]
        await catalog.commit(Commit(QUEUE, [], dead_letters=[a_letter("1-1", project="p1"), *letters]))
        assert [x.id for x in await catalog.dead_letters("p0", limit=99)] == ["0-7", "0-6", "0-5", "0-4", "0-3"]
        assert [x.id for x in await catalog.dead_letters("p1", limit=99)] == ["1-1"]
        assert [o.key for o in await catalog.condemned(grace_s=0)] == [stored.key]
        now[0] += 3601 * 10**9
        assert list(await catalog.dead_letters("p0", limit=99)) == []
        with pytest.raises(NotFoundError):
            await catalog.dead_letter("p0", "0-7")


async def test_use_before_open_is_unavailable(make_catalog: MakeCatalog) -> None:
    """A wiring mistake must not look like an empty catalog."""
    with pytest.raises(UnavailableError, match="not open"):
        await make_catalog().snapshot()
