"""Makes the catalog's tables, and brings those of an older release up to date."""

from __future__ import annotations

import logging
import re
from hashlib import blake2b

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from agenttrace_adapters.postgres.options import Options
from agenttrace_adapters.sql import CREATE_MIGRATIONS, FORMAT, migrations
from agenttrace_core.errors import ConfigurationError

_log = logging.getLogger(__name__)

_OLDEST = 130_000
_WAIT_S = 60
"""How long a process waits for another that is making the tables."""

_LONGEST_S = 3600

_TEXT = re.compile(r"\bTEXT\b")


async def prepare(connection: PoolConnectionProxy[asyncpg.Record], options: Options) -> bool:
    """See to it that the tables are there, in this release's format. Any number of processes may do so at once.

    Returns:
        whether the server would, unasked, answer commits before they are durable.

    Raises:
        ConfigurationError: a newer release made the tables, or the database cannot hold them.
    """
    unsafe = await _check_server(connection, options)
    found = await _format(connection, options)
    if found < FORMAT:
        found = await _migrate(connection, options)
    if found > FORMAT:
        raise ConfigurationError(
            f"metadata = {options.shown!r}: format {found} of schema {options.schema!r} was written by a newer "
            f"release; this one reads up to {FORMAT}"
        )
    return unsafe


async def _check_server(connection: PoolConnectionProxy[asyncpg.Record], options: Options) -> bool:
    (row,) = await connection.fetch(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
        " current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('fsync')"
    )
    number, version, encoding, synchronous, fsync = row
    if number < _OLDEST:
        raise ConfigurationError(f"metadata = {options.shown!r}: PostgreSQL {version} is too old; 13 is needed")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"metadata = {options.shown!r}: the database's encoding is {encoding}; make one with ENCODING 'UTF8'"
        )
    if fsync == "off":
        _log.warning("PostgreSQL runs with fsync = off: what is committed may be lost with the machine's power")
    return bool(synchronous == "off")


async def _format(connection: PoolConnectionProxy[asyncpg.Record], options: Options) -> int:
    table = options.table("migrations")
    is_there = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'migrations')",
        options.schema,
    )
    return int(await connection.fetchval(f"SELECT COALESCE(MAX(number), 0) FROM {table}")) if is_there else 0  # noqa: S608


async def _migrate(connection: PoolConnectionProxy[asyncpg.Record], options: Options) -> int:
    # The lock ends with the transaction. No timeout of ours fits a large index that is built.
    await connection.execute(
        f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{_WAIT_S}s';"
        f" SELECT pg_advisory_xact_lock({_lock_key(options.schema)})",
        timeout=_WAIT_S + 1,
    )
    found = await _format(connection, options)
    if found < FORMAT:
        await _apply(connection, options, found)
    await connection.execute("COMMIT")
    return max(found, FORMAT)


async def _apply(connection: PoolConnectionProxy[asyncpg.Record], options: Options, found: int) -> None:
    has_schema = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", options.schema
    )
    if not has_schema:  # IF NOT EXISTS would need the right to make one even where it is there
        await connection.execute(f'CREATE SCHEMA "{options.schema}"')
    statements = [
        f'SET LOCAL search_path = "{options.schema}"',
        CREATE_MIGRATIONS,
    ]
    for migration in migrations()[found:]:
        statements += migration.statements
        statements.append(
            f"INSERT INTO migrations VALUES ({migration.number}, '{migration.name}',"  # noqa: S608 - from our own files
            " (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint * 1000)"
        )
    # Ordered and indexed by bytes, as SQLite does, whatever the database's locale: an index does not
    # go wrong when the system's collations are updated.
    script = _TEXT.sub('TEXT COLLATE "C"', "; ".join(statements))
    await connection.execute(script, timeout=_LONGEST_S)
    _log.info(
        "brought the catalog's tables to this release's format" if found else "made the catalog's tables",
        extra={"metadata": options.shown, "schema": options.schema, "format": FORMAT},
    )


def _lock_key(schema: str) -> int:
    """Return the advisory lock of a schema's migrations: a number that nobody else is likely to use."""
    return int.from_bytes(blake2b(f"agenttrace/{schema}".encode(), digest_size=8).digest(), signed=True)
