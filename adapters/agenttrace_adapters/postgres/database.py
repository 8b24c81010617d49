"""Connections to PostgreSQL, and transactions that run the catalog's statements on them.

Changes run one after the other: each begins by locking the one row of ``catalog``, for all
processes, and sees what the one before it committed. Readings run beside them, each over one
snapshot of the database.

No session state is relied on, so that a transaction may run on whatever connection a pool such
as PgBouncer hands out for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import anyio
import asyncpg
from asyncpg.pool import PoolConnectionProxy

from agenttrace_adapters.postgres.errors import translated
from agenttrace_adapters.postgres.options import Options
from agenttrace_adapters.postgres.running import Clock, run
from agenttrace_adapters.sql import Query, Steps
from agenttrace_core.errors import AgentTraceError, UnavailableError

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

T = TypeVar("T")

_GRACE_S = 2.0
"""How much longer than the server this side waits for an answer, before it takes the server for gone."""


class Database:
    """The connections of one process.

    Args:
        options: where, and how many.
        clock: returns nanoseconds since the epoch; by default the server's clock is asked.
    """

    def __init__(self, options: Options, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._changing = anyio.Lock()
        self._begin_change = self._begin_read = ""

    async def open(self, prepare: Callable[[Connection], Awaitable[bool]] | None = None) -> None:
        """Make the pool, and call ``prepare``, which says whether durable commits must be asked for."""
        with translated(self._options.shown):
            self._pool = await asyncpg.create_pool(
                self._options.dsn,
                min_size=0,
                max_size=self._options.pool_size,
                reset=_no_reset,
                timeout=self._options.connect_timeout,
                command_timeout=self._options.command_timeout + _GRACE_S,
                statement_cache_size=self._options.statement_cache_size,
                server_settings={"application_name": "agenttrace", **({} if self._is_shared else self._settings())},
            )
        must_ask = False
        if prepare is not None:
            async with self._connection() as connection:
                must_ask = await prepare(connection)
        settings = self._settings() if self._is_shared else {}
        local = "".join(f"SET LOCAL {name} = {value}; " for name, value in settings.items())
        durable = "SET LOCAL synchronous_commit = on; " if must_ask else ""
        lock = f"SELECT FROM {self._options.table('catalog')} FOR UPDATE"
        self._begin_change = f"BEGIN ISOLATION LEVEL READ COMMITTED; {local}{durable}{lock}"
        self._begin_read = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {local}"

    async def aclose(self) -> None:
        """Close the connections, and cut those off that do not end soon."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            with anyio.move_on_after(_GRACE_S):
                await pool.close()
        finally:
            pool.terminate()

    async def change(self, steps: Steps[T]) -> T:
        """Run a change. It is durable once this returns.

        Raises:
            UnavailableError: it did not go through; or the connection was lost while it was being
                committed, and nobody knows.
        """
        # One connection at a time, so that changes that wait for a lock leave the others to readers.
        async with held(self._changing, self._options.lock_timeout, self._options.shown):
            return await self._transaction(self._begin_change, steps)

    async def read(self, steps: Steps[T]) -> T:
        """Run a reading, of which all statements see the same moment."""
        return await self._transaction(self._begin_read, steps)

    async def value(self, query: Query) -> Any:
        """Return the one value that a query with qualified names finds, in as little time as can be."""
        if self._is_shared:
            return await self.read(_value(query))
        async with self._connection() as connection:
            return await run(connection, _value(query), self._clock)

    async def _transaction(self, begin: str, steps: Steps[T]) -> T:
        async with self._connection() as connection:
            await connection.execute(begin)
            try:
                result = await run(connection, steps, self._clock)
            except AgentTraceError:
                await connection.execute("ROLLBACK")
                raise
            if (said := await connection.execute("COMMIT")) != "COMMIT":
                raise UnavailableError(f"metadata {self._options.shown!r}: answered COMMIT with {said}")
            return result

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        """A connection outside any transaction, to be left so: after any error but ours it is cut off.

        Whatever the error was, another connection may have it better: to the server that has
        become the primary, say.
        """
        if self._pool is None:
            raise UnavailableError(f"metadata {self._options.shown!r} is not open")
        pool = self._pool
        with translated(self._options.shown):
            connection = await pool.acquire(timeout=self._options.connect_timeout)
            try:
                yield connection
            except AgentTraceError:
                raise
            except BaseException:
                with suppress(asyncpg.InterfaceError):  # the pool has noticed by itself
                    connection.terminate()
                raise
            finally:
                await pool.release(connection)

    @property
    def _is_shared(self) -> bool:
        """Whether what is set for a session would meet other people's transactions, or be lost before ours."""
        return self._options.pgbouncer

    def _settings(self) -> Mapping[str, str]:
        return {
            "search_path": f'"{self._options.schema}"',
            "lock_timeout": _milliseconds(self._options.lock_timeout),
            "statement_timeout": _milliseconds(self._options.command_timeout),
            # A process that was suspended in a transaction must not keep the lock from all others.
            "idle_in_transaction_session_timeout": _milliseconds(self._options.command_timeout),
        }


@asynccontextmanager
async def held(lock: anyio.Lock, patience_s: float, shown: str) -> AsyncGenerator[None]:
    """Hold a lock of this process for the length of a block.

    Raises:
        UnavailableError: who had it before was not done in time.
    """
    try:
        with anyio.fail_after(patience_s):
            await lock.acquire()
    except TimeoutError as error:
        raise UnavailableError(f"metadata {shown!r}: earlier calls still wait for it") from error
    try:
        yield
    finally:
        lock.release()


def _value(query: Query) -> Steps[Any]:
    ((value,),) = yield query
    return value


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


async def _no_reset(_: object) -> None:
    """Spare the statements by which asyncpg cleans a session: transactions leave nothing behind."""
