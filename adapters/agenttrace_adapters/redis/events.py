"""The event bus between processes: Redis's own channels (https://redis.io/docs/latest/develop/pubsub/)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from agenttrace_adapters.redis.adapter import RedisAdapter
from agenttrace_adapters.redis.link import connect, run_command
from agenttrace_adapters.redis.url import RedisUrl
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.events import BufferedSubscription, EventBus, Subscription, check_event, check_topic

_log = logging.getLogger(__name__)

_ENTER_S = 2.0
_QUIET_S = 5.0
"""A connection over which nothing came for so long is asked whether it is still there."""
_LONGEST_PAUSE_S = 2.0


class RedisEvents(RedisAdapter, EventBus):
    """Tells those who listen on one server, database and prefix. A subscription has a connection of its own."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        super().__init__(url)

    async def publish(self, topic: str, event: str) -> None:
        """Tell; see the port."""
        channel, said = self._channel(topic), check_event(event)

        async def run(client: Redis) -> None:
            await run_command(client, "PUBLISH", channel, said)

        with suppress(UnavailableError):
            await self._link.run(run)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        """Listen; see the port."""
        listener = _Listener(self._url, self._channel(topic))
        task = asyncio.create_task(listener.run())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(listener.tried.wait(), _ENTER_S)
            yield listener.subscription
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _channel(self, topic: str) -> str:
        # Channels know no databases.
        return f"{self._url.prefix}:{self._url.database}:events:{check_topic(topic)}"


class _Listener:
    """Hears one channel, and connects anew for as long as it runs."""

    def __init__(self, url: RedisUrl, channel: str) -> None:
        self.subscription = BufferedSubscription()
        self.tried = asyncio.Event()
        """Set once it hears, or has failed to."""
        self._url = url
        self._channel = channel
        self._deaf = False

    async def run(self) -> None:
        pause_s = 0.1
        while True:
            client = connect(self._url)
            try:
                async with client.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    await self._hear(channel)
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) if self._deaf else 0.1
                self._lost(error)
            finally:
                await client.aclose()
                await client.connection_pool.disconnect()
            await asyncio.sleep(pause_s)

    async def _hear(self, channel: PubSub) -> None:
        asked = False
        while True:
            message = await channel.get_message(timeout=_QUIET_S)
            if message is None:
                if asked:
                    raise TimeoutError("nothing comes any more")
                await channel.ping()
            elif message["type"] == "subscribe":
                self._found()
            elif message["type"] == "message":
                self.subscription.add(cast("bytes", message["data"]).decode())
            asked = message is None

    def _found(self) -> None:
        if self._deaf:
            _log.warning("events of redis at %s are heard again", self._url.address)
            self.subscription.missed()
        self._deaf = False
        self.tried.set()

    def _lost(self, error: Exception) -> None:
        if not self._deaf:
            reason = str(error) or type(error).__name__
            _log.warning("events of redis at %s are not heard (%s): looking instead", self._url.address, reason)
        self._deaf = True
        self.tried.set()
