"""Runs the API of one process until it is told to stop, and lets what is under way end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.serve import HttpServer, http_config
from agenttrace_server.query.guard import App

_HALF_CLOSED_S = 2.0
"""Time in which a client that has closed its sending side, or left, is still worked for."""


async def serve(
    app: App,
    config: DoorConfig,
    listener: socket.socket,
    *,
    started: Callable[[], None] = lambda: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve ``app`` on a bound socket, which is closed in the end, until ``stop`` is set or the task is cancelled.

    Returns only when requests under way have been answered, ``config.drain_s`` at most.
    """
    stop = stop or asyncio.Event()
    http = HttpServer(http_config(app, config, _HALF_CLOSED_S))
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await http.until_started(serving)
        if http.started:
            started()
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        http.should_exit = True
        await asyncio.shield(asyncio.gather(serving, stopping))
