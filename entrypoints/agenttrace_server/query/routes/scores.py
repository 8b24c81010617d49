"""``/api/v1/scores``: what people and programs think of traces, spans and sessions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from agenttrace_core.errors import InvalidInputError, UnsupportedMediaError
from agenttrace_core.model.ids import parse_trace_id
from agenttrace_core.model.score import ScoreSelection
from agenttrace_server.ingestion.bodies import BodyReader, content_length
from agenttrace_server.query import figures, formats, models, render
from agenttrace_server.query.asking import During, PanelAsked, judged
from agenttrace_server.query.formats import Rows, WantedFormat
from agenttrace_server.query.parameters import Caller, Cursor, Limit
from agenttrace_server.query.services import ApiServices
from agenttrace_server.query.tables import score_table


def router(services: ApiServices, bodies: BodyReader) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["scores"])

    @routes.post("/scores", response_model=models.ScoresSent, openapi_extra=_BODY)
    async def give_scores(caller: Caller, request: Request) -> Response:
        """Store a score, or an array of them, and answer once they are durable."""
        media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaError(f"content-type {media_type[:80]!r} is not taken here; send application/json")
        length = content_length(request.headers.get("content-length", "").encode() or None)
        coding = request.headers.get("content-encoding", "").strip().lower()
        body = await bodies.read(request.receive, length, coding)
        given = await services.scores.give(caller, body)
        headers = {"agenttrace-receipt": given.receipt_id}
        return Response(render.scores_sent(given), media_type="application/json", headers=headers)

    @routes.get("/scores", responses=formats.responses(models.ScoreListing))
    async def list_scores(
        request: Request,
        caller: Caller,
        during: During,
        wanted: WantedFormat,
        trace_id: Annotated[str | None, Query(description="Of this trace and its spans", max_length=64)] = None,
        session_id: Annotated[str | None, Query(description="That name this session", max_length=256)] = None,
        name: Annotated[str | None, Query(description="By this name", max_length=256)] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """The scores that count, newest first; of those that replace one another, the last."""
        selection = ScoreSelection(
            trace_ids=None if trace_id is None else (parse_trace_id(trace_id),),
            session_ids=None if session_id is None else (session_id,),
            name=name,
            during=during,
        )
        page = await services.patience.answer(
            request, lambda: services.scores.list(caller, selection, limit=limit, cursor=cursor or None)
        )
        return formats.response(Rows(score_table(page.scores), "items", page.lag, page.next_cursor), wanted)

    @routes.get("/analytics/scores", responses=formats.responses(models.ScoreFigures))
    async def score_figures(
        request: Request,
        caller: Caller,
        panel: PanelAsked,
        wanted: WantedFormat,
        name: Annotated[str, Query(description="Of the scores by this name", min_length=1, max_length=256)],
    ) -> Response:
        """How many scores there are by a name, their mean, least and greatest, by time and by any dimension."""
        if panel.asked.top is not None or panel.top_by is not None or panel.compare:
            raise InvalidInputError("top, top_by and compare are not for scores")
        asked = judged(panel.asked, services.read.as_of())
        told = await services.patience.answer(request, lambda: services.score_figures.answer(caller, name, asked))
        return formats.response(figures.rows_of(told, services.patience.limits.max_rows), wanted)

    return routes


_SCHEMA = models.GivenScore.model_json_schema()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": [_SCHEMA, {"type": "array", "items": _SCHEMA}]}}},
    }
}
