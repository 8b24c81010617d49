"""The event bus between processes: LISTEN and NOTIFY (https://www.postgresql.org/docs/current/sql-notify.html)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from hashlib import blake2b

from agenttrace_adapters.postgres.database import Database
from agenttrace_adapters.postgres.listener import Listener
from agenttrace_adapters.postgres.options import Options, parse
from agenttrace_adapters.sql import Query
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.events import BufferedSubscription, EventBus, Subscription, check_event, check_topic
from agenttrace_core.ports.sharing import SharingCapabilities

_log = logging.getLogger(__name__)

_PUBLISH_S = 1.0
_LONGEST_CHANNEL = 63


class PostgresEvents(EventBus):
    """Tells those who listen on one database and schema. All subscriptions of an instance share one connection.

    Listening needs a session of its own, and a pool that hands out connections by transaction has none to give:
    behind PgBouncer nobody hears anything, which ``open`` says, and who waits for an event looks for himself.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._database = Database(replace(options, pool_size=1, connect_timeout=_PUBLISH_S, command_timeout=_PUBLISH_S))
        self._listener = Listener(options)

    @classmethod
    def from_url(cls, url: str) -> PostgresEvents:
        """Make one from a URL of ``metadata``.

        Raises:
            ConfigurationError: the URL is wrong; the message never shows the password.
        """
        return cls(parse(url))

    @property
    def capabilities(self) -> SharingCapabilities:
        """Shared, where sessions are."""
        return SharingCapabilities(shared=not self._options.pgbouncer)

    async def open(self) -> None:
        """Get ready; the server need not answer."""
        if self._options.pgbouncer:
            _log.warning(
                "no events are heard through PgBouncer: processes look for changes instead; redis would tell them",
                extra={"metadata": self._options.shown},
            )
        await self._database.open()

    async def aclose(self) -> None:
        """Hang up."""
        await self._listener.aclose()
        await self._database.aclose()

    async def publish(self, topic: str, event: str) -> None:
        """Tell; see the port."""
        notify = Query("SELECT pg_notify(?, ?)", self._channel(topic), check_event(event))
        with suppress(UnavailableError):
            await self._database.value(notify)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Subscription]:
        """Listen; see the port."""
        channel, subscription = self._channel(topic), BufferedSubscription()
        if self._options.pgbouncer:
            yield subscription
            return
        await self._listener.add(channel, subscription)
        try:
            yield subscription
        finally:
            self._listener.discard(channel, subscription)

    def _channel(self, topic: str) -> str:
        name = f"{self._options.schema}.{check_topic(topic)}"
        if len(name) <= _LONGEST_CHANNEL:
            return name
        digest = blake2b(name.encode(), digest_size=8).hexdigest()
        return f"{name[: _LONGEST_CHANNEL - 1 - len(digest)]}.{digest}"
