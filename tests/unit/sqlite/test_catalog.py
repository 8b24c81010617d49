"""What the SQLite catalog promises beyond the contract: formats, bounds, reading by difference, damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agenttrace_adapters.sql import FORMAT, LetterBounds
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE, a_file, a_letter, keys_of, replaced_rows, told
from agenttrace_core.errors import ConfigurationError, NotFoundError, UnavailableError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.catalog import Commit

pytestmark = pytest.mark.anyio

_DAY_NS = 86_400 * 10**9


async def _flush(catalog: SqliteCatalog, number: int) -> int:
    file = a_file(number)
    await catalog.register(file.id, list(file.objects.values()))
    return await catalog.commit(Commit(QUEUE, [], [file]))


@pytest.mark.parametrize("url", ["sqlite:", "file:x", "sqlite", "postgresql://host/db"])
def test_a_wrong_url_says_what_would_be_right(url: str) -> None:
    """An operator who mistypes the key must not be left with a traceback."""
    with pytest.raises(ConfigurationError, match="sqlite:/"):
        SqliteCatalog.from_url(url)


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """An older release that writes into a newer catalog damages it silently."""
    path = tmp_path / "c.sqlite"
    async with opened(SqliteCatalog(str(path))) as catalog:
        await _flush(catalog, 1)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations VALUES (?, 'of the future', 0)", (FORMAT + 1,))
    db.close()
    with pytest.raises(ConfigurationError, match="newer release"):
        await SqliteCatalog(str(path)).open()


async def test_an_older_format_is_brought_up_to_date(tmp_path: Path) -> None:
    """A release is installed over the data of the one before: a file without any migration is the oldest there is."""
    path = tmp_path / "c.sqlite"
    sqlite3.connect(path).close()
    async with opened(SqliteCatalog(str(path))) as catalog:
        await _flush(catalog, 1)
    db = sqlite3.connect(path)
    assert db.execute("SELECT MAX(number), COUNT(*) FROM migrations").fetchone() == (FORMAT, FORMAT)
    db.close()


async def test_a_file_that_is_not_a_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A path that was mistyped must cost nobody a file."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"dear diary, " * 1000)
    with pytest.raises(ConfigurationError, match="not a catalog"):
        await SqliteCatalog(str(path)).open()
    assert path.read_bytes() == b"dear diary, " * 1000


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """It holds the secret that receipts are signed with."""
    path = tmp_path / "new" / "c.sqlite"
    async with opened(SqliteCatalog(str(path))) as catalog:
        await _flush(catalog, 1)
        modes = {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}


async def test_use_before_open_is_unavailable() -> None:
    """A wiring mistake must not look like an empty catalog."""
    with pytest.raises(UnavailableError, match="not open"):
        await SqliteCatalog(":memory:").snapshot()


async def test_a_snapshot_read_by_difference_equals_one_read_whole(tmp_path: Path) -> None:
    """A query process that has run for a week must see what one that has just started sees."""
    path = str(tmp_path / "c.sqlite")
    async with opened(SqliteCatalog(path)) as writer, opened(SqliteCatalog(path)) as old:
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
        async with opened(SqliteCatalog(path)) as new:
            seen, whole = await old.snapshot(), await new.snapshot()
        assert seen.files == whole.files
        assert told(seen.superseded) == told(whole.superseded)
        assert len({(s.file_id, s.project) for s in whole.superseded}) == len(whole.superseded)


async def test_an_unchanged_snapshot_is_the_same_object(tmp_path: Path) -> None:
    """Readers keep caches by snapshot, and ask before every query."""
    async with opened(SqliteCatalog(str(tmp_path / "c.sqlite"))) as catalog:
        await _flush(catalog, 1)
        assert await catalog.snapshot() is await catalog.snapshot()


async def test_a_reader_that_slept_for_months_reads_everything_again(tmp_path: Path) -> None:
    """Dead files are forgotten after a month; a reader that never heard of their death would keep them."""
    path, now = str(tmp_path / "c.sqlite"), [10**18]
    async with opened(SqliteCatalog(path, clock=lambda: now[0])) as writer, opened(SqliteCatalog(path)) as sleeper:
        version = await _flush(writer, 1)
        assert len((await sleeper.snapshot()).files) == 1
        await writer.replace([a_file(1).id], [], version=version)
        now[0] += 31 * _DAY_NS
        await writer.forget(keys_of(a_file(1)))
        assert (await sleeper.snapshot()).files == ()


async def test_grace_is_counted_from_death(tmp_path: Path) -> None:
    """A query that began before a merge reads the old files until it ends."""
    now = [10**18]
    async with opened(SqliteCatalog(str(tmp_path / "c.sqlite"), clock=lambda: now[0])) as catalog:
        version = await _flush(catalog, 1)
        now[0] += 10 * _DAY_NS
        await catalog.replace([a_file(1).id], [], version=version)
        now[0] += 59 * 10**9
        assert await catalog.condemned(grace_s=60) == []
        now[0] += 2 * 10**9
        assert [o.key for o in await catalog.condemned(grace_s=60)] == sorted(keys_of(a_file(1)))


async def test_bodies_are_bounded() -> None:
    """The memory of what was written must not grow for ever."""
    async with opened(SqliteCatalog(":memory:", bodies=100)) as catalog:
        for n in range(30):
            await catalog.commit(Commit(QUEUE, [], bodies=[(10 * n + k).to_bytes(16, "big") for k in range(10)]))
        kept = [int.from_bytes(body, "big") for body in await catalog.bodies(1000)]
        assert kept == list(range(300 - len(kept), 300))
        assert 100 <= len(kept) <= 110


async def test_letters_are_bounded_by_number_and_age(tmp_path: Path) -> None:
    """A sender that is refused all day must not fill the disk, nor push out another project's letters."""
    now = [a_letter("x").received_ns]
    bounds = LetterBounds(number=5, age_s=3600)
    catalog = SqliteCatalog(str(tmp_path / "c.sqlite"), clock=lambda: now[0], letter_bounds=bounds)
    async with opened(catalog):
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
