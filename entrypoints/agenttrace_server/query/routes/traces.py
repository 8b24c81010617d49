"""``/api/v1/traces``: lists of traces, one trace, one span."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from agenttrace_core.services.trace_views import Part, SpanOrder
from agenttrace_server.query import formats, models, render
from agenttrace_server.query.asking import During, QueryText, Sort, ordered
from agenttrace_server.query.explaining import explanations
from agenttrace_server.query.formats import Rows, WantedFormat
from agenttrace_server.query.parameters import Caller, Cursor, Limit, SpanId, TraceId, json_response
from agenttrace_server.query.services import ApiServices
from agenttrace_server.query.streaming import CountedStream
from agenttrace_server.query.tables import trace_table

Order = Annotated[SpanOrder, Query(description="By start, or parents before children")]


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["traces"])

    @routes.get("/traces", responses=formats.responses(models.TraceListing))
    async def list_traces(
        request: Request,
        caller: Caller,
        during: During,
        wanted: WantedFormat,
        q: QueryText = "",
        sort: Sort = "start",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """The traces that a query selects, the newest first, or the longest, dearest or largest."""
        order, descending = ordered(sort)
        page = await services.patience.answer(
            request,
            lambda: services.ask.traces(
                caller, q, during=during, order=order, descending=descending, limit=limit, cursor=cursor or None
            ),
        )
        return formats.response(Rows(trace_table(page), "items", page.lag, page.next_cursor), wanted)

    @routes.get("/traces/{trace_id}", response_model=models.Trace)
    async def get_trace(
        request: Request,
        caller: Caller,
        trace_id: TraceId,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        cursor: Cursor = None,
        order: Order = SpanOrder.START,
        format: Annotated[str | None, Query(pattern="^(light|otlp)$")] = None,  # noqa: A002 - the parameter's name
    ) -> Response:
        """A trace's spans by time or as a tree; with ``format=otlp``, the whole trace as one OTLP/JSON request."""
        if format == "otlp":
            whole = await services.patience.answer(request, lambda: services.read.trace_otlp(caller, trace_id))
            return CountedStream(services.patience, whole, "application/json")
        page = await services.patience.answer(
            request, lambda: services.read.trace(caller, trace_id, limit=limit, cursor=cursor or None, order=order)
        )
        return json_response(render.trace_page(page))

    @routes.get("/traces/{trace_id}/spans", response_model=models.SpanPage)
    async def get_trace_spans(
        request: Request,
        caller: Caller,
        trace_id: TraceId,
        parent: Annotated[str | None, Query(description="Only spans right below this one")] = None,
        subtree: Annotated[str | None, Query(description="Only this span and all below it")] = None,
        depth: Annotated[int | None, Query(description="Only so many levels below the first", ge=0)] = None,
        q: QueryText = "",
        order: Order = SpanOrder.TREE,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        cursor: Cursor = None,
    ) -> Response:
        """A part of a trace: what is below a span, the topmost levels, or what a query selects."""
        part = Part(parent, subtree, depth, q)
        page = await services.patience.answer(
            request,
            lambda: services.read.trace_spans(caller, trace_id, part, limit=limit, cursor=cursor or None, order=order),
        )
        return json_response(render.span_page(page))

    @routes.get("/traces/{trace_id}/spans/{span_id}", response_model=models.Span)
    async def get_span(request: Request, caller: Caller, trace_id: TraceId, span_id: SpanId) -> Response:
        """Everything of a span."""
        found = await services.patience.answer(request, lambda: services.read.span(caller, trace_id, span_id))
        return json_response(render.span_details(found))

    @routes.get("/traces/{trace_id}/spans/{span_id}/explain", response_model=models.Explanation)
    async def explain_span(request: Request, caller: Caller, trace_id: TraceId, span_id: SpanId) -> Response:
        """Why each canonical field of a span holds what it holds: the rule, its version, and the attributes."""
        found = await services.patience.answer(request, lambda: services.read.explain(caller, trace_id, span_id))
        return json_response(explanations(trace_id.lower(), found))

    @routes.get("/export", response_class=StreamingResponse)
    async def export(caller: Caller) -> StreamingResponse:
        """All traces as OTLP/JSON requests, one trace a line, as of the moment of the request."""
        return CountedStream(services.patience, await services.read.export(caller), "application/x-ndjson")

    return routes
