"""Runs the doors of one process until it is told to stop, and lets what is under way end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator

import uvicorn

from agenttrace_core.services.ingest import IngestService
from agenttrace_server.auth import Authenticator
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.grpc_door import GrpcDoor
from agenttrace_server.ingestion.http_door import make_otlp_app
from agenttrace_server.ingestion.metrics import DoorMetrics
from agenttrace_server.ingestion.protocol import hardened


async def serve(
    service: IngestService,
    authenticator: Authenticator,
    config: DoorConfig,
    metrics: DoorMetrics,
    *,
    http_socket: socket.socket,
    grpc_address: str,
    started: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve OTLP over HTTP and gRPC, until ``stop`` is set or the task is cancelled.

    Either way it returns only when requests under way have been answered (``drain_s`` at most)
    and what was refused is kept. The queue must be open, and is left open.

    Args:
        service: what requests are handed to; its ``run`` is run here.
        authenticator: finds the project of each.
        config: the bounds.
        metrics: counts the answers.
        http_socket: a bound socket for HTTP; it is closed in the end.
        grpc_address: ``host:port`` for gRPC; port 0 takes a free one.
        started: is told the gRPC port once both doors are open.
        stop: set it to stop.

    Raises:
        ConfigurationError: the gRPC port cannot be had.
    """
    stop = stop or asyncio.Event()
    grpc_door = GrpcDoor(service, authenticator, config, metrics)
    app = make_otlp_app(service, authenticator, config, metrics, ready=lambda: not stop.is_set())
    http = HttpServer(http_config(app, config))
    background = asyncio.create_task(service.run())
    try:
        grpc_port = await grpc_door.start(grpc_address)
        serving = asyncio.create_task(http.serve(sockets=[http_socket]))
        stopping = asyncio.create_task(stop.wait())
        try:
            await http.until_started(serving)
            if started is not None:
                started(grpc_port)
            await asyncio.wait({serving, stopping, background}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            http.should_exit = True
            await asyncio.shield(asyncio.gather(serving, grpc_door.stop(), stopping))
    finally:
        service.close()
        await asyncio.shield(background)


def http_config(app: object, config: DoorConfig, half_closed_s: float | None = None) -> uvicorn.Config:
    """Return uvicorn's configuration for a port that strangers may reach; see ``hardened``."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI 3 application, typed by its own callables
        http=hardened(
            connection_timeout_s=config.connection_timeout_s,
            max_connections=config.max_connections,
            half_closed_s=half_closed_s,
        ),
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        # A header must not say where a caller is: callers on this machine need no key.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(config.keep_alive_s),
        timeout_graceful_shutdown=int(config.drain_s),
    )


class HttpServer(uvicorn.Server):
    """Serves within a process that has signals, and an end, of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the process's owner."""
        yield

    async def until_started(self, serving: asyncio.Task[None]) -> None:
        """Return once the port is open, or ``serving`` has ended; raise what ended it."""
        while not self.started:
            if serving.done():
                await serving
                return
            await asyncio.sleep(0.005)
