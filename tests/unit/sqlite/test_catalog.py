"""What the SQLite catalog promises beyond the contract: formats, bounds, reading by difference, damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agenttrace_adapters.sql import FORMAT
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE, a_file
from agenttrace_core.errors import ConfigurationError
from agenttrace_core.ports.catalog import Commit

pytestmark = pytest.mark.anyio


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
