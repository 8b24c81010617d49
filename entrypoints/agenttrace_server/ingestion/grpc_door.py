"""OTLP/gRPC: ``TraceService/Export`` and ``LogsService/Export``, on raw bytes.

Messages are neither parsed nor made anew here: the service checks the bytes themselves. A call
is taken as a stream, though it holds one message, so that a message is received only once
there is room for it. Web pages cannot speak gRPC without TLS, which is why no Host is checked.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Never, cast
from urllib.parse import unquote

import grpc
import grpc.aio

from agenttrace_core.errors import (
    AgentTraceError,
    ConfigurationError,
    InvalidInputError,
    OverloadedError,
)
from agenttrace_core.model.principal import Principal
from agenttrace_core.ports.queue import Signal
from agenttrace_core.services.ingest import Ingested, IngestService
from agenttrace_core.wire.status import Encoding, error_status, logs_response, traces_response
from agenttrace_server.auth import FORWARDING, Authenticator
from agenttrace_server.ingestion.bodies import BodyTimeoutError
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.metrics import DoorMetrics
from agenttrace_server.ingestion.outcomes import INTERNAL, Outcome, outcome_of

_log = logging.getLogger(__name__)

_SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": Signal.TRACES,
    "opentelemetry.proto.collector.logs.v1.LogsService": Signal.LOGS,
}
_RESPONSES = {Signal.TRACES: traces_response, Signal.LOGS: logs_response}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_WAIT_FOR_ROOM_S = 2.0
_LEAST_READERS = 4

_Context = grpc.aio.ServicerContext[bytes, bytes]
_Store = Callable[[Principal, bytes, Encoding], Awaitable[Ingested]]


class GrpcDoor:
    """The gRPC server of one process.

    Args:
        service: what requests are handed to.
        authenticator: finds the project of each.
        config: the bounds.
        metrics: counts the answers.
    """

    def __init__(
        self, service: IngestService, authenticator: Authenticator, config: DoorConfig, metrics: DoorMetrics
    ) -> None:
        self._stores: dict[Signal, _Store] = {Signal.TRACES: service.traces, Signal.LOGS: service.logs}
        self._authenticator = authenticator
        self._config = config
        self._metrics = metrics
        self._server: grpc.aio.Server | None = None
        # gRPC holds a message that is being received where no account sees it: this many at most.
        self._readers = asyncio.Semaphore(max(_LEAST_READERS, (256 << 20) // config.max_body_bytes))

    async def start(self, address: str) -> int:
        """Serve on ``host:port`` and return the port; port 0 takes a free one.

        Raises:
            ConfigurationError: the port is taken, or the address is not this machine's.
        """
        self._server = grpc.aio.server(options=_options(self._config))
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(name, {"Export": self._handler(signal)})
                for name, signal in _SERVICES.items()
            )
        )
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigurationError(f"ingest.grpc_port: {address} cannot be bound: {error}") from error
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Take no more calls, and return when those under way have ended, ``drain_s`` at most."""
        if self._server is not None:
            await self._server.stop(self._config.drain_s)

    def _handler(self, signal: Signal) -> Any:
        async def export(_messages: object, context: _Context) -> bytes:
            return await self._export(signal, context)

        return cast("Any", grpc.stream_unary_rpc_method_handler)(export)

    async def _export(self, signal: Signal, context: _Context) -> bytes:
        try:
            principal = self._principal(context)
            body = await self._read(context)
            ingested = await self._stores[signal](principal, body, Encoding.PROTOBUF)
        except AgentTraceError as error:
            await self._abort(context, outcome_of(error), str(error))
        except Exception:  # noqa: BLE001 - the last handler: whatever failed, the sender is told
            _log.exception("a call failed")
            await self._abort(context, INTERNAL, "the server failed; its log says why")
        self._metrics.answered("grpc", 0)
        context.set_trailing_metadata((("agenttrace-receipt", ingested.receipt_id),))
        return _RESPONSES[signal](Encoding.PROTOBUF, rejected=ingested.rejected, reason=ingested.reason)

    def _principal(self, context: _Context) -> Principal:
        metadata: dict[str, str | bytes] = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        return self._authenticator.principal(
            authorization if authorization is None or isinstance(authorization, str) else "",
            _peer_address(context.peer()),
            forwarded=any(name in metadata for name in FORWARDING),
        )

    async def _read(self, context: _Context) -> bytes:
        try:
            async with asyncio.timeout(_WAIT_FOR_ROOM_S):
                await self._readers.acquire()
        except TimeoutError as error:
            raise OverloadedError("too many messages are being received already; try again later") from error
        try:
            async with asyncio.timeout(self._config.body_timeout_s):
                message = cast("bytes | object", await context.read())  # grpc.aio.EOF is of no public type
        except TimeoutError as error:
            raise BodyTimeoutError(f"the message did not arrive within {self._config.body_timeout_s:g} s") from error
        finally:
            self._readers.release()
        if not isinstance(message, bytes):
            raise InvalidInputError("the call ended without a message")
        return message

    async def _abort(self, context: _Context, outcome: Outcome, message: str) -> Never:
        self._metrics.answered("grpc", outcome.code)
        details = error_status(Encoding.PROTOBUF, outcome.code, message, retry_after_s=outcome.retry_after_s)
        trailers: list[tuple[str, bytes]] = [("grpc-status-details-bin", details)]
        if outcome.retry_after_s is not None:
            # Python's exporter looks for the RetryInfo here: field 1, a Duration, whose field 1 is seconds.
            trailers.append(("google.rpc.retryinfo-bin", bytes((0x0A, 2, 0x08, outcome.retry_after_s))))
        await context.abort(_CODES[outcome.code], message, tuple(trailers))
        raise AssertionError("abort raises")


def _options(config: DoorConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_body_bytes),
        ("grpc.max_concurrent_streams", 256),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def _peer_address(peer: str) -> str | None:
    """Return the address in what gRPC says of a peer, such as ``ipv4:127.0.0.1:5`` or ``ipv6:%5B::1%5D:5``."""
    family, _, rest = unquote(peer).partition(":")
    if family not in {"ipv4", "ipv6"}:
        return None
    return rest.rpartition(":")[0].strip("[]")
