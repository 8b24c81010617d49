"""The catalog in a schema of PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
from anyio import to_thread

from agenttrace_adapters.postgres.database import Database, held
from agenttrace_adapters.postgres.options import Options, parse
from agenttrace_adapters.postgres.schema import prepare
from agenttrace_adapters.sql import LetterBounds, Query, SqlCatalog, Steps
from agenttrace_adapters.sql.snapshots import SnapshotReader, read_difference
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.ports.catalog import CatalogCapabilities

T = TypeVar("T")


class PostgresCatalog(SqlCatalog):
    """Metadata of one deployment, on as many machines as like.

    Args:
        options: where it is.
        clock: returns nanoseconds since the epoch; by default the server's clock is asked, which all processes share.
        bodies: how many body hashes are kept at least.
        letter_bounds: of each project's dead letters.
    """

    def __init__(
        self,
        options: Options,
        *,
        clock: Callable[[], int] | None = None,
        bodies: int = 200_000,
        letter_bounds: LetterBounds | None = None,
    ) -> None:
        super().__init__(bodies=bodies, letter_bounds=letter_bounds)
        self._options = options
        self._database = Database(options, clock)
        self._snapshots = SnapshotReader()
        self._reading = anyio.Lock()
        self._select_version = Query(f"SELECT version FROM {options.table('catalog')}")  # noqa: S608 - options checked it

    @classmethod
    def from_url(cls, url: str) -> PostgresCatalog:
        """Make one from ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=…``; see ``Options``.

        Raises:
            ConfigurationError: the URL is wrong; the message never shows the password.
        """
        return cls(parse(url))

    @property
    def capabilities(self) -> CatalogCapabilities:
        """Durable, and shared by processes."""
        return CatalogCapabilities(durable=True, multi_process=True)

    async def open(self) -> None:
        """Connect, and make the tables or bring them to this release's format.

        Raises:
            ConfigurationError: there is no such database or role, or a newer release made the tables.
            UnavailableError: the server does not answer.
        """
        await self._database.open(partial(prepare, options=self._options))

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        self._snapshots = SnapshotReader()
        await self._database.aclose()

    async def snapshot(self) -> Snapshot:
        """Return the catalog at this moment; see the port. Costs what changed since the last call."""
        async with held(self._reading, self._options.command_timeout, self._options.shown):
            reader = self._snapshots
            if await self.version() == reader.version:
                return reader.newest
            difference = await self._read(read_difference(reader.version))
            return await to_thread.run_sync(reader.apply, difference)

    async def version(self) -> int:
        """Return the newest version; see the port."""
        return int(await self._database.value(self._select_version))

    async def _change(self, steps: Steps[T]) -> T:
        return await self._database.change(steps)

    async def _read(self, steps: Steps[T]) -> T:
        return await self._database.read(steps)
