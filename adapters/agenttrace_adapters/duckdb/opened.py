"""What the index is made of, from its URL to its end: what all of its abilities work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

import numpy as np

from agenttrace_adapters.duckdb.analytics import Analytics
from agenttrace_adapters.duckdb.ledgers import Ledgers
from agenttrace_adapters.duckdb.logs import LogFiles
from agenttrace_adapters.duckdb.objects import WHOLE_BYTES, Objects
from agenttrace_adapters.duckdb.parts import Parts
from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_core.errors import ConfigurationError
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.index import View
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.schema.arrays import Int64s

_SAID = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class _Opened:
    """What there is between ``open`` and ``aclose``."""

    objects: Objects
    sources: SourceCache
    parts: Parts
    logs: LogFiles
    ledgers: Ledgers
    analytics: Analytics


class OpenedIndex:
    """The half of an index that does not depend on what is asked.

    Args:
        memory_limit: DuckDB's, such as ``256MB``.
        threads: DuckDB's.
        cache_bytes: bound of the local copies of objects, where the storage is elsewhere and keeps none itself.
        whole_bytes: longer objects that are elsewhere are read by ranges, until they are read often.
        rollups: whether figures come from roll-ups where they hold; without, they are the same, and later.
        grams: whether a text is sought only where it may be; without, it is found as well, and later.
    """

    def __init__(
        self,
        *,
        memory_limit: str = "256MB",
        threads: int = 2,
        cache_bytes: int = 4 << 30,
        whole_bytes: int = WHOLE_BYTES,
        rollups: bool = True,
        grams: bool = True,
    ) -> None:
        self._sql = SqlRunner(memory_limit=memory_limit, threads=threads)
        self._cache_bytes, self._whole_bytes = cache_bytes, whole_bytes
        self._rollups, self._grams = rollups, grams
        self._storage: ObjectStorage | None = None
        self._cache: Cache | None = None
        self._opened: _Opened | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from ``duckdb:?memory_limit=256MB&threads=2&cache_bytes=4294967296&rollups=true``; all are optional.

        Two more are ``whole_bytes=2097152`` and ``grams=true``; see the class.

        Raises:
            ConfigurationError: the URL says anything else.
        """
        options = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
        memory_limit = options.pop("memory_limit", "256MB")
        rollups, grams = options.pop("rollups", "true"), options.pop("grams", "true")
        try:
            threads = int(options.pop("threads", "2"))
            cache_bytes = int(options.pop("cache_bytes", str(4 << 30)))
            whole_bytes = int(options.pop("whole_bytes", str(WHOLE_BYTES)))
        except ValueError:
            threads = cache_bytes = whole_bytes = 0
        is_said = rollups in _SAID and grams in _SAID
        if url.partition("?")[0] != "duckdb:" or options or threads < 1 or cache_bytes < 1 or not is_said:
            raise ConfigurationError(
                f"index = {url!r}: write 'duckdb:' or 'duckdb:?memory_limit=256MB&threads=2&cache_bytes=4294967296'"
            )
        return cls(
            memory_limit=memory_limit,
            threads=threads,
            cache_bytes=cache_bytes,
            whole_bytes=whole_bytes,
            rollups=_SAID[rollups],
            grams=_SAID[grams],
        )

    def attach(self, storage: ObjectStorage) -> None:
        """Say where the objects are."""
        self._storage = storage

    def use_cache(self, cache: Cache) -> None:
        """Find footers of objects that are elsewhere."""
        self._cache = cache

    async def open(self) -> None:
        """Start DuckDB. Files are opened as views name them.

        Raises:
            ConfigurationError: no storage was attached, or DuckDB refuses an option.
        """
        if self._storage is None:
            raise ConfigurationError("an index needs a storage: call attach() before open()")
        await self._sql.open()
        objects = Objects(self._storage, max_bytes=self._cache_bytes, whole_bytes=self._whole_bytes, cache=self._cache)
        sources = SourceCache(objects)
        ledgers = Ledgers()
        analytics = Analytics(self._sql, sources, ledgers, rollups=self._rollups)
        self._opened = _Opened(objects, sources, Parts(sources), LogFiles(objects), ledgers, analytics)

    async def aclose(self) -> None:
        """Unmap all files, and remove the local copies."""
        await self._sql.aclose()
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.sources.close()
            await opened.objects.aclose()

    @property
    def objects(self) -> Objects:
        """Gets at the bytes of objects."""
        return self._made.objects

    @property
    def _sources(self) -> SourceCache:
        return self._made.sources

    @property
    def _parts(self) -> Parts:
        return self._made.parts

    @property
    def _logs(self) -> LogFiles:
        return self._made.logs

    @property
    def _ledgers(self) -> Ledgers:
        return self._made.ledgers

    @property
    def _analytics(self) -> Analytics:
        return self._made.analytics

    @property
    def _made(self) -> _Opened:
        assert self._opened is not None, "open() comes before use"
        return self._opened

    def _kept(self, view: View, source: str, rows: Int64s) -> Int64s:
        dropped = self._sources.dropped(view, source)
        return rows if dropped is None else rows[~np.isin(rows, dropped)]
