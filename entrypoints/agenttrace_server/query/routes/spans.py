"""``/api/v1/spans``: spans of all traces."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from agenttrace_server.query import formats, models
from agenttrace_server.query.asking import During, QueryText
from agenttrace_server.query.formats import Rows, WantedFormat
from agenttrace_server.query.parameters import Caller, Cursor
from agenttrace_server.query.services import ApiServices
from agenttrace_server.query.tables import light_table


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["traces"])

    @routes.get("/spans", responses=formats.responses(models.SpanListing))
    async def list_spans(
        request: Request,
        caller: Caller,
        during: During,
        wanted: WantedFormat,
        q: QueryText = "",
        limit: Annotated[int, Query(description="At most so many", ge=1, le=10_000)] = 50,
        cursor: Cursor = None,
    ) -> Response:
        """The spans that a query selects, newest first."""
        found = await services.patience.answer(
            request, lambda: services.ask.spans(caller, q, during=during, limit=limit, cursor=cursor or None)
        )
        return formats.response(Rows(light_table(found.rows), "items", found.lag, found.next_cursor), wanted)

    return routes
