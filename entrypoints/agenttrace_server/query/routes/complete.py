"""``/api/v1/complete``: how a query that is being written can go on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from agenttrace_server.query import models, render
from agenttrace_server.query.asking import QueryText
from agenttrace_server.query.parameters import Caller, json_response
from agenttrace_server.query.services import ApiServices

At = Annotated[int | None, Query(ge=0, description="Where the cursor is: before so many characters; else at the end")]
Most = Annotated[int, Query(ge=1, le=100)]


def router(services: ApiServices) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/api/v1", tags=["traces"])

    @routes.get("/complete", response_model=models.Completion)
    async def complete(
        request: Request, caller: Caller, q: QueryText = "", at: At = None, limit: Most = 20
    ) -> Response:
        """Fields, operators and values that can stand at the cursor in a query."""
        found = await services.patience.answer(request, lambda: services.complete.complete(caller, q, at, limit=limit))
        return json_response(render.completion(found))

    return routes
