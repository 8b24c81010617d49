"""What routes take, in the same words everywhere: the caller, ids, and places in a list."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.responses import Response

from agenttrace_core.model.principal import Principal
from agenttrace_server.query.guard import PRINCIPAL


async def _caller(request: Request) -> Principal:
    # Not async, it would be run in a thread.
    principal: Principal = request.scope[PRINCIPAL]
    return principal


Caller = Annotated[Principal, Depends(_caller)]
TraceId = Annotated[str, Path(description="32 hex digits")]
SpanId = Annotated[str, Path(description="16 hex digits")]
Cursor = Annotated[str | None, Query(description="next_cursor of the page before", max_length=4096)]
Limit = Annotated[int, Query(description="At most so many", ge=1, le=1000)]


def json_response(body: bytes) -> Response:
    """Answer with JSON that is written already."""
    return Response(body, media_type="application/json")
