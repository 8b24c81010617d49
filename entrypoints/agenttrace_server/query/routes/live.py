"""``/api/v1/tail``: spans as they arrive, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import orjson
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from agenttrace_core.model.principal import Principal
from agenttrace_server.query import render
from agenttrace_server.query.parameters import Caller
from agenttrace_server.query.services import ApiServices

_POLL_S = 0.1
_HEARTBEAT_S = 15.0


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])

    @routes.get("/tail", response_class=StreamingResponse)
    async def tail(caller: Caller) -> StreamingResponse:
        """Spans as they arrive, as server-sent events whose data are light rows with their trace's id."""
        return StreamingResponse(_events(services, caller), media_type="text/event-stream")

    return routes


async def _events(services: ApiServices, caller: Principal) -> AsyncIterator[bytes]:
    place = await services.read.tail_from()
    yield b": spans as they arrive\n\n"
    quiet_s = 0.0
    while not services.stopping():
        rows, place = await services.read.arrived(caller, place)
        for row in render.light_rows(rows):
            yield b"event: span\ndata: " + orjson.dumps(row) + b"\n\n"
        quiet_s = 0.0 if len(rows) else quiet_s + _POLL_S
        if quiet_s >= _HEARTBEAT_S:
            yield b": still here\n\n"
            quiet_s = 0.0
        await anyio.sleep(_POLL_S)
