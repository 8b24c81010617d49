"""``/api/v1/live``: spans as they arrive, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import orjson
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from agenttrace_core.services.arrivals import ArrivalStream, Arrived
from agenttrace_server.query import render
from agenttrace_server.query.asking import QueryText
from agenttrace_server.query.parameters import Caller
from agenttrace_server.query.services import ApiServices
from agenttrace_server.query.streaming import CountedStream

_POLL_S = 0.1
_HEARTBEAT_S = 15.0
_MEDIA_TYPE = "text/event-stream"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {_MEDIA_TYPE: {"schema": {"type": "string", "description": "Events span, skipped"}}}}
}


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])

    @routes.get("/live", response_class=Response, responses=_ANSWERS)
    async def live(
        caller: Caller,
        q: QueryText = "",
        after: Annotated[str | None, Query(description="Go on after the event of this id", max_length=4096)] = None,
        last_event_id: Annotated[str | None, Header(description="The same, by browsers", max_length=4096)] = None,
    ) -> Response:
        """Spans as they arrive, and again when those that were running have ended, until the caller leaves."""
        stream = await services.arrivals.open(caller, q, after=after or last_event_id or None)
        return CountedStream(services.patience, _events(services, stream), _MEDIA_TYPE, _HEADERS)

    return routes


async def _events(services: ApiServices, stream: ArrivalStream) -> AsyncIterator[bytes]:
    # A slow reader is waited for here: what it has not taken is not read, let alone kept.
    yield b": spans as they arrive\n\n"
    quiet_s = 0.0
    while not services.stopping():
        arrived = await stream.next()
        if len(arrived.rows) or arrived.skipped:
            yield b"".join(_told(arrived))
            quiet_s = 0.0
        elif quiet_s >= _HEARTBEAT_S:
            yield b": still here\nid: " + arrived.mark.encode() + b"\n\n"
            quiet_s = 0.0
        if arrived.caught_up:
            quiet_s += _POLL_S
            await anyio.sleep(_POLL_S)


def _told(arrived: Arrived) -> list[bytes]:
    """Write events. Only the last one of a batch has an id: it stands for all of them."""
    rows = render.light_rows(arrived.rows)
    events = [b"event: span\ndata: " + orjson.dumps(row) + b"\n\n" for row in rows]
    if arrived.skipped:
        events.append(b'event: skipped\ndata: {"reason": "this stream was read too slowly"}\n\n')
    events[-1] = b"id: " + arrived.mark.encode() + b"\n" + events[-1]
    return events
