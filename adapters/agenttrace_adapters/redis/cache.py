"""The cache that processes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from redis.asyncio import Redis

from agenttrace_adapters.redis.adapter import RedisAdapter
from agenttrace_adapters.redis.link import run_command
from agenttrace_adapters.redis.url import RedisUrl
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.cache import MAX_VALUE_BYTES, Cache


class RedisCache(RedisAdapter, Cache):
    """Keeps values on the server until their time is over, or the server needs the room (``maxmemory-policy``)."""

    def __init__(self, url: RedisUrl) -> None:
        super().__init__(url, without="nothing is found in the cache")
        self._prefix = f"{url.prefix}:cache:"

    async def get(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        """Look up; see the port."""
        asked = list(keys)
        if not asked:
            return {}
        values = await self._try("MGET", *(self._prefix + key for key in asked)) or []
        return {key: bytes(value) for key, value in zip(asked, values, strict=False) if value is not None}

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Keep; see the port."""
        if len(value) > MAX_VALUE_BYTES:
            await self._try("DEL", self._prefix + key)
            return
        await self._try("SET", self._prefix + key, value, "PX", max(1, round(ttl_s * 1000)))

    async def _try(self, *command: str | bytes | int) -> Any:
        """Run a command; None where the server is away."""

        async def run(client: Redis) -> Any:
            return await run_command(client, *command)

        try:
            return await self._link.run(run)
        except UnavailableError:
            return None
