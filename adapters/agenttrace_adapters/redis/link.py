"""The way to the server: short of patience, and closed while the server is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from agenttrace_adapters.redis.url import RedisUrl
from agenttrace_core.errors import ConfigurationError, UnavailableError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_CONNECTIONS = 8
_LOOK_AGAIN_S = 0.5
_OPEN_S = 2.0


class Link:
    """Runs commands, each within the time that the URL sets.

    One that fails closes the link: the next ones fail at once, without a look at the network, until the server
    has answered a ping, which a task of the link asks for twice a second. So an absence costs those who wait at its
    beginning, once, and nobody else.

    Args:
        url: where the server is.
        without: what it means that the server is away, for the log; empty where somebody else says so.
    """

    def __init__(self, url: RedisUrl, *, without: str = "") -> None:
        self._url = url
        self._without = without
        self._client: Redis | None = None
        self._away = ""
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """See whether the server answers. Where it does not, the link is closed for now.

        Raises:
            ConfigurationError: it answers, and does not let us in; or the file of certificates is not there.
        """
        if self._url.ca_file is not None and not self._url.ca_file.is_file():
            raise ConfigurationError(f"cache: there is no file {str(self._url.ca_file)!r}, which ca_file names")
        if self._client is None:
            self._client = connect(self._url)
        try:
            async with asyncio.timeout(_OPEN_S):
                await _ping(self._client)
        except exceptions.AuthenticationError as error:
            raise self._refused(error) from error
        except exceptions.ResponseError as error:
            raise self._refused(error) from error
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            self._close(error)

    async def aclose(self) -> None:
        """Hang up."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
        if self._client is not None:
            await self._client.aclose()
            await self._client.connection_pool.disconnect()
            self._client = None

    async def run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """Run one command.

        Raises:
            UnavailableError: the server is away, or refuses the command. Perhaps it was run.
        """
        if self._client is None:
            raise UnavailableError(f"redis at {self._url.address}: not open")
        if self._away:
            raise self._unavailable()
        try:
            async with asyncio.timeout(self._url.timeout_s):
                return await command(self._client)
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            self._close(error)
            raise self._unavailable() from error

    def _close(self, error: Exception) -> None:
        if self._away:
            return
        self._away = str(error) or type(error).__name__
        if self._without:
            _log.warning("redis at %s is away (%s): %s", self._url.address, self._away, self._without)
        self._looking = asyncio.get_running_loop().create_task(self._look_until_back())

    async def _look_until_back(self) -> None:
        while self._away:
            await asyncio.sleep(_LOOK_AGAIN_S)
            client = self._client
            assert client is not None
            with suppress(exceptions.RedisError, OSError, TimeoutError):
                async with asyncio.timeout(self._url.timeout_s):
                    await _ping(client)
                self._away = ""
        if self._without:
            _log.warning("redis at %s is back", self._url.address)

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(f"redis at {self._url.address} is away: {self._away}")

    def _refused(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"cache: redis at {self._url.address} does not let us in: {error}")


def connect(url: RedisUrl) -> Redis:
    """Return a client, without I/O. It connects anew, once, where a connection turns out to be dead."""
    tls: dict[str, Any] = {}
    if url.tls:
        tls = {"connection_class": SSLConnection, "ssl_ca_certs": None if url.ca_file is None else str(url.ca_file)}
    pool = BlockingConnectionPool(
        host=url.host,
        port=url.port,
        db=url.database,
        username=url.user,
        password=url.password,
        socket_timeout=url.timeout_s,
        socket_connect_timeout=url.timeout_s,
        # The newer protocol has the client ask for notices that it has no use for.
        protocol=2,
        retry=Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
        max_connections=_CONNECTIONS,
        timeout=url.timeout_s,
        **tls,
    )
    return Redis.from_pool(pool)


async def run_command(client: Redis, *words: str | bytes | int) -> Any:
    """Run a command by its own name. Those of the driver's methods are typed as if they perhaps did not wait."""
    return await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def _ping(client: Redis) -> None:
    await run_command(client, "PING")
