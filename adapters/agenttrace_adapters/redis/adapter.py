"""What all that is kept on a Redis server has in common: one URL, one way to the server, which may be away."""

from __future__ import annotations

from typing import Self

from agenttrace_adapters.redis.link import Link
from agenttrace_adapters.redis.url import RedisUrl
from agenttrace_core.ports.sharing import SharingCapabilities


class RedisAdapter:
    """The half of an adapter that does not depend on its port.

    Args:
        url: of the server.
        without: what is told to be the case while the server is away, for the log.
    """

    def __init__(self, url: RedisUrl, *, without: str = "") -> None:
        self._link = Link(url, without=without)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from ``redis://host:6379/0``.

        Raises:
            ConfigurationError: the URL is not one of Redis.
        """
        return cls(RedisUrl.parse(url))

    @property
    def capabilities(self) -> SharingCapabilities:
        """Shared."""
        return SharingCapabilities(shared=True)

    async def open(self) -> None:
        """See whether the server answers; it need not.

        Raises:
            ConfigurationError: it does not let us in.
        """
        await self._link.open()

    async def aclose(self) -> None:
        """Hang up."""
        await self._link.aclose()
