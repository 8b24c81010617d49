"""Connections to brokers. A broker answers what comes on one connection in turn, so each purpose has its own."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Collection
from functools import partial
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    AuthenticationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.api import Request

from agenttrace_adapters.kafka.options import Address, KafkaOptions
from agenttrace_adapters.kafka.protocol import NoContactError
from agenttrace_core.errors import ConfigurationError

# At DEBUG it writes every request into the log, the one with the password among them.
logging.getLogger("aiokafka.conn").setLevel(logging.INFO)

ADMIN = "admin"
"""The lane of what takes its time: a topic that is made."""
_CLIENT = "agenttrace"
_ANSWER_MS = 5_000
_ADMIN_MS = 30_000
_IDLE_MS = 540_000  # brokers close what was idle for ten minutes
_FAILURES = (OSError, KafkaError, EOFError, ValueError, AssertionError)  # the last of what is no broker at all
_REFUSALS = (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError)


class Connection(AIOKafkaConnection):
    """One that can be let go of at once: what is not sent yet is not sent any more."""

    def abort(self) -> asyncio.Future[None] | None:
        """Close it; whoever waits on it is told so. The future is done when it is closed."""
        if self._writer is not None:
            self._writer.transport.abort()
        return self.close()


class Connections:
    """Makes a connection where none is, and forgets one that broke. ``lane`` names the purpose."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._ssl: ssl.SSLContext | None = None
        self._open: dict[tuple[Address, str], Connection] = {}
        self._connecting: dict[tuple[Address, str], asyncio.Task[Connection]] = {}
        self._closing: set[asyncio.Future[None]] = set()

    def open(self) -> None:
        """Read what TLS needs.

        Raises:
            ConfigurationError: a file is missing, or is no certificate or key.
        """
        self._ssl = self._options.ssl_context()

    async def ask(self, address: Address, lane: str, request: Request[Any]) -> Any:
        """Send a request and return the answer. If the caller gives up waiting, the connection is closed.

        Raises:
            NoContactError: no answer came.
            ConfigurationError: the broker does not let us in, or is too old.
        """
        connection = await self._get(address, lane)
        try:
            return await connection.send(request)
        except IncompatibleBrokerVersion as error:
            raise ConfigurationError(f"the broker at {address} is too old: Kafka 2.8 or later is needed") from error
        except NotImplementedError as error:
            raise ConfigurationError(f"the broker at {address} speaks no version of a request: {error}") from error
        except _FAILURES as error:
            self.drop(address, lane)
            raise NoContactError(f"the broker at {address} does not answer: {_words(error)}") from error
        except BaseException:  # an answer that comes later must not be taken for that of the next request
            self.drop(address, lane)
            raise

    def drop(self, address: Address, lane: str) -> None:
        """Close a connection; whoever waits on it is told so."""
        connection = self._open.pop((address, lane), None)
        if connection is not None and (closing := connection.abort()) is not None and not closing.done():
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def keep_only(self, addresses: Collection[Address]) -> None:
        """Close connections to brokers that are no more."""
        for address, lane in list(self._open):
            if address not in addresses:
                self.drop(address, lane)

    async def aclose(self) -> None:
        """Close them all."""
        for task in self._connecting.values():
            task.cancel()
        await asyncio.gather(*self._connecting.values(), return_exceptions=True)
        for address, lane in list(self._open):
            self.drop(address, lane)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _get(self, address: Address, lane: str) -> Connection:
        """Return a connection; one that is being made goes on being made if the caller gives up waiting."""
        key = (address, lane)
        connection = self._open.get(key)
        if connection is not None and connection.connected():
            return connection
        if key not in self._connecting:
            self._connecting[key] = task = asyncio.create_task(self._connect(address, lane))
            task.add_done_callback(partial(self._made, key))
        return await asyncio.shield(self._connecting[key])

    def _made(self, key: tuple[Address, str], task: asyncio.Task[Connection]) -> None:
        del self._connecting[key]
        if not task.cancelled() and task.exception() is None:
            self._open[key] = task.result()

    async def _connect(self, address: Address, lane: str) -> Connection:
        options = self._options
        connection = Connection(
            address.host,
            address.port,
            client_id=_CLIENT,
            request_timeout_ms=_ADMIN_MS if lane == ADMIN else _ANSWER_MS,
            ssl_context=self._ssl,
            security_protocol=options.security_protocol,
            max_idle_ms=_IDLE_MS,
            sasl_mechanism=options.sasl_mechanism,
            sasl_plain_username=options.username,
            sasl_plain_password=options.password,
        )
        try:
            await connection.connect()
        except _REFUSALS as error:
            raise ConfigurationError(f"queue: the broker at {address} does not let us in: {_words(error)}") from error
        except _FAILURES as error:
            protocol = options.security_protocol
            raise NoContactError(f"no connection ({protocol}) to the broker at {address}: {_words(error)}") from error
        return connection


def _words(error: BaseException) -> str:
    """Say what went wrong; the cause is named where aiokafka's own words are only that something was closed."""
    told = str(error) or type(error).__name__
    return f"{told} ({error.__cause__})" if error.__cause__ is not None and str(error.__cause__) else told
