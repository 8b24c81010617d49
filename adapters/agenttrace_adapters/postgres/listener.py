"""One session of PostgreSQL that listens, for as many subscriptions as like."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from typing import Any

import asyncpg

from agenttrace_adapters.postgres.errors import translated
from agenttrace_adapters.postgres.options import Options
from agenttrace_core.errors import AgentTraceError, UnavailableError
from agenttrace_core.ports.events import BufferedSubscription

_log = logging.getLogger(__name__)

_ENTER_S = 2.0
_QUIET_S = 5.0
"""How often a session that only listens is asked whether it is still there."""
_LONGEST_PAUSE_S = 2.0


class Listener:
    """Connects when the first subscription comes, and anew whenever the session is lost."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._subscribed: defaultdict[str, set[BufferedSubscription]] = defaultdict(set)
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._using = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        """Set once it hears, or has failed to."""
        self._deaf = False

    async def add(self, channel: str, subscription: BufferedSubscription) -> None:
        """Hear a channel from the return on; or, where the server is away, from its return on."""
        self._subscribed[channel].add(subscription)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), _ENTER_S)
        async with self._using:
            if self._connection is not None:
                with suppress(AgentTraceError), translated(self._options.shown):
                    await self._connection.add_listener(channel, self._hear)

    def discard(self, channel: str, subscription: BufferedSubscription) -> None:
        """Hear it no more. The session goes on listening to the channel, which costs nothing."""
        self._subscribed[channel].discard(subscription)

    async def aclose(self) -> None:
        """Hang up."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._subscribed.clear()

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        for subscription in self._subscribed.get(channel, ()):
            subscription.add(str(payload))

    async def _run(self) -> None:
        pause_s = 0.1
        while True:
            try:
                with translated(self._options.shown):
                    await self._listen()
            except AgentTraceError as error:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) if self._deaf else 0.1
                self._lost(error)
            await asyncio.sleep(pause_s)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._options.dsn,
            timeout=self._options.connect_timeout,
            command_timeout=self._options.command_timeout,
            server_settings={"application_name": "agenttrace-events"},
        )
        closed = asyncio.Event()

        def on_close(_: Any) -> None:
            closed.set()

        connection.add_termination_listener(on_close)
        try:
            async with self._using:
                for channel in [channel for channel, heard in self._subscribed.items() if heard]:
                    await connection.add_listener(channel, self._hear)
                self._connection = connection
            self._found()
            while not closed.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(closed.wait(), _QUIET_S)
                    raise UnavailableError(f"metadata {self._options.shown!r} has closed the session")
                async with self._using:
                    await connection.execute("SELECT 1")
        finally:
            self._connection = None
            connection.terminate()

    def _found(self) -> None:
        if self._deaf:
            _log.warning("events of PostgreSQL are heard again", extra={"metadata": self._options.shown})
            for heard in self._subscribed.values():
                for subscription in heard:
                    subscription.missed()
        self._deaf = False
        self._tried.set()

    def _lost(self, error: AgentTraceError) -> None:
        if not self._deaf:
            _log.warning("events of PostgreSQL are not heard: looking instead", extra={"error": str(error)})
        self._deaf = True
        self._tried.set()
