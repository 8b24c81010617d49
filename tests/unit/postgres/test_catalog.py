"""What the PostgreSQL catalog promises beyond the contract: tables made with a word, rights, encodings, connections."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import pytest
from anyio import to_thread

from agenttrace_adapters.postgres import PostgresCatalog
from agenttrace_adapters.sql import CREATE_MIGRATIONS, FORMAT, Query, Steps, migrations
from agenttrace_contracts.base import opened
from agenttrace_contracts.metadata_values import QUEUE, a_file, a_letter
from agenttrace_core.errors import ConfigurationError, NotFoundError, UnavailableError
from agenttrace_core.ports.catalog import Commit, MetadataStore
from tests.servers.postgres import PostgresPlace

pytestmark = pytest.mark.anyio


async def _do(url: str, *statements: str) -> list[asyncpg.Record]:
    """Run statements beside the adapter; return the rows of the last."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetch(statements[-1])
    finally:
        await connection.close()


async def _use(catalog: MetadataStore) -> None:
    file = a_file(1)
    await catalog.register(file.id, list(file.objects.values()))
    await catalog.commit(Commit(QUEUE, [], [file]))
    assert (await catalog.snapshot()).files == (file,)


async def test_the_tables_are_made_with_a_word_and_once(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever points it at a database must see that something was made there, and where."""
    caplog.set_level(logging.INFO)
    for _ in range(2):
        async with opened(PostgresCatalog.from_url(f"{postgres_url}?schema=traces_of_ours")) as catalog:
            await catalog.version()
    made = [record for record in caplog.records if record.getMessage() == "made the catalog's tables"]
    assert [getattr(record, "schema", "") for record in made] == ["traces_of_ours"]
    (row,) = await _do(postgres_url, "SELECT COUNT(*) FROM traces_of_ours.migrations")
    assert row[0] == FORMAT


async def test_a_newer_format_is_refused(postgres_url: str) -> None:
    """An older release that writes into a newer catalog damages it silently."""
    async with opened(PostgresCatalog.from_url(postgres_url)):
        pass
    await _do(postgres_url, "UPDATE agenttrace.migrations SET number = number + 100", "SELECT 1")
    with pytest.raises(ConfigurationError, match="newer release"):
        async with opened(PostgresCatalog.from_url(postgres_url)):
            pass


async def test_an_older_format_is_brought_up_to_date(postgres_url: str) -> None:
    """A release is installed over the tables of one before: here, of the first."""
    first = migrations()[0]
    await _do(
        postgres_url, "CREATE SCHEMA agenttrace", "SET search_path = agenttrace", CREATE_MIGRATIONS, *first.statements,
        "INSERT INTO migrations VALUES (1, 'catalog', 0)", "SELECT 1",
    )  # fmt: skip
    async with opened(PostgresCatalog.from_url(postgres_url)) as catalog:
        await _use(catalog)


async def test_texts_are_ordered_by_bytes_whatever_the_locale(postgres_url: str) -> None:
    """An index that is ordered by a locale goes wrong when the system's collations are updated."""
    async with opened(PostgresCatalog.from_url(postgres_url)):
        pass
    rows = await _do(
        postgres_url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'agenttrace'"
        " AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'",
    )
    assert rows == []


async def test_another_encoding_is_refused(postgres: PostgresPlace, postgres_url: str) -> None:
    """A project's name that has no place in the database's encoding would fail months later."""
    name = urlsplit(postgres_url).path.strip("/") + "_latin"
    sql = f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    await to_thread.run_sync(postgres.execute, sql)
    try:
        with pytest.raises(ConfigurationError, match="ENCODING 'UTF8'"):
            async with opened(PostgresCatalog.from_url(urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}")))):
                pass
    finally:
        await to_thread.run_sync(postgres.execute, f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_role_without_the_right_is_told_so(postgres: PostgresPlace, postgres_url: str) -> None:
    """The operator must make the schema then, and needs to read why. In a schema of its own the role needs no more."""
    role = urlsplit(postgres_url).path.strip("/") + "_role"
    theirs = urlunsplit(
        urlsplit(postgres_url)._replace(netloc=f"{role}@{postgres_url.rpartition('@')[2].split('/')[0]}")
    )
    await to_thread.run_sync(postgres.execute, f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(ConfigurationError, match=r"permission denied for database .*AUTHORIZATION role"):
            async with opened(PostgresCatalog.from_url(theirs)):
                pass
        await _do(postgres_url, f"CREATE SCHEMA agenttrace AUTHORIZATION {role}", "SELECT 1")
        async with opened(PostgresCatalog.from_url(theirs)) as catalog:
            await _use(catalog)
    finally:
        await _do(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}", "SELECT 1")


@pytest.mark.parametrize(("part", "said"), [("/nowhere", "nowhere"), ("?user=nobody_at_all", "nobody_at_all")])
async def test_what_is_not_there_is_a_matter_of_configuration(postgres_url: str, part: str, said: str) -> None:
    """Waiting for a database or a role that does not exist helps nobody."""
    parts = urlsplit(postgres_url)
    if part.startswith("/"):
        url = urlunsplit(parts._replace(path=part))
    else:
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=part[1:]))
    with pytest.raises(ConfigurationError, match=said):
        async with opened(PostgresCatalog.from_url(url)):
            pass


async def test_what_has_no_place_in_a_text_stops_nothing(postgres_url: str) -> None:
    """A refusal that quotes its input would stop its partition for ever, and a null in a path would be a 500."""
    async with opened(PostgresCatalog.from_url(postgres_url)) as catalog:
        letter = a_letter("0-1")
        reason = "a null \0 and half a pair \ud800"
        await catalog.commit(Commit(QUEUE, [], dead_letters=[type(letter)(
            letter.id, letter.project, letter.signal, letter.received_ns, reason, 1
        )]))  # fmt: skip
        (kept,) = await catalog.dead_letters("p0", limit=1)
        assert kept.reason.startswith("a null \ufffd and half a pair ")
        with pytest.raises(NotFoundError):
            await catalog.dead_letter("p0", "0-1\0")


async def test_commits_are_durable_where_the_server_would_not_wait(postgres_url: str) -> None:
    """The queue is trimmed up to what was committed: a commit that a crash takes back loses spans."""
    name = urlsplit(postgres_url).path.strip("/")
    await _do(postgres_url, f"ALTER DATABASE {name} SET synchronous_commit = off", "SELECT 1")

    def setting() -> Steps[str]:
        ((value,),) = yield Query("SELECT current_setting('synchronous_commit')")
        return str(value)

    async with opened(PostgresCatalog.from_url(postgres_url)) as catalog:
        assert await catalog._change(setting()) == "on"


async def test_one_process_has_few_connections(postgres_url: str) -> None:
    """A hundred are all that a server allows by default, for all processes."""
    async with opened(PostgresCatalog.from_url(f"{postgres_url}?pool_size=2")) as catalog:
        async with anyio.create_task_group() as tasks:
            for n in range(30):
                tasks.start_soon(catalog.version)
                tasks.start_soon(catalog.secret, f"s{n}")
                tasks.start_soon(catalog.snapshot)
        (row,) = await _do(
            postgres_url,
            "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'agenttrace'"
            " AND datname = current_database()",
        )
        assert 1 <= row[0] <= 2


async def test_use_after_closing_is_unavailable(postgres_url: str) -> None:
    """A wiring mistake must not look like an empty catalog."""
    catalog = PostgresCatalog.from_url(postgres_url)
    async with opened(catalog):
        pass
    with pytest.raises(UnavailableError, match="not open"):
        await catalog.version()
