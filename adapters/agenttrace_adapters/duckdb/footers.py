"""Footers of Parquet objects that are elsewhere, found again in a cache that processes share."""

from __future__ import annotations

import xxhash

from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.cache import Cache

_TTL_S = 3600.0
"""A footer tells the least and the greatest value of columns: it must not stay long after its object has gone."""
_CHECKSUM_BYTES = 8


class Footers:
    """What one process has read of an object's end spares the others a request.

    Args:
        cache: where they are kept; None keeps none.
    """

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache

    async def find(self, item: StoredObject) -> bytes | None:
        """Return the footer of an object, if somebody has kept it, and it is whole."""
        if self._cache is None:
            return None
        kept = (await self._cache.get([_key(item)])).get(_key(item), b"")
        checksum, footer = kept[:_CHECKSUM_BYTES], kept[_CHECKSUM_BYTES:]
        return footer if footer and checksum == xxhash.xxh3_64_digest(footer) else None

    async def keep(self, item: StoredObject, footer: bytes) -> None:
        """Let others find a footer."""
        if self._cache is not None:
            await self._cache.put(_key(item), xxhash.xxh3_64_digest(footer) + footer, ttl_s=_TTL_S)


def _key(item: StoredObject) -> str:
    return f"footer:{item.key}:{item.checksum}"
