"""``/api/v1/analytics``: usage, latency, errors and cost, by time and by any dimension."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from agenttrace_core.model.principal import Principal
from agenttrace_core.services.analytics import Kind
from agenttrace_server.query import figures, formats, models
from agenttrace_server.query.asking import MeasuresAsked, Panel, PanelAsked, judged, measuring, of_kind
from agenttrace_server.query.formats import Format, WantedFormat
from agenttrace_server.query.parameters import Caller
from agenttrace_server.query.services import ApiServices

_ANSWERS = formats.responses(models.Figures)


def router(services: ApiServices) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])

    async def answer(
        request: Request, caller: Principal, panel: Panel, wanted: Format, kind: Kind | None = None
    ) -> Response:
        panel = panel if kind is None else of_kind(panel, kind)
        asked = judged(panel.asked, services.read.as_of())
        told = await services.patience.answer(
            request,
            lambda: services.analytics.answer(caller, asked, kind=kind, compare_previous=panel.compare),
        )
        return formats.response(figures.rows_of(told, services.patience.limits.max_rows), wanted)

    @routes.get("", responses=_ANSWERS)
    async def general(
        request: Request, caller: Caller, panel: PanelAsked, measures: MeasuresAsked, wanted: WantedFormat
    ) -> Response:
        """Any measures of groups of spans."""
        return await answer(request, caller, measuring(panel, measures), wanted)

    @routes.get("/usage", responses=_ANSWERS)
    async def usage(request: Request, caller: Caller, panel: PanelAsked, wanted: WantedFormat) -> Response:
        """Spans, traces, errors, tokens by part, and cost."""
        return await answer(request, caller, panel, wanted, Kind.USAGE)

    @routes.get("/latency", responses=_ANSWERS)
    async def latency(request: Request, caller: Caller, panel: PanelAsked, wanted: WantedFormat) -> Response:
        """Exact percentiles of duration, time to the first chunk, and output tokens a second."""
        return await answer(request, caller, panel, wanted, Kind.LATENCY)

    @routes.get("/errors", responses=_ANSWERS)
    async def errors(request: Request, caller: Caller, panel: PanelAsked, wanted: WantedFormat) -> Response:
        """How many spans and traces there are, and how many of the spans failed."""
        return await answer(request, caller, panel, wanted, Kind.ERRORS)

    @routes.get("/cost", responses=_ANSWERS)
    async def cost(request: Request, caller: Caller, panel: PanelAsked, wanted: WantedFormat) -> Response:
        """What it cost by our prices and by the senders', with the tokens, and what has no price."""
        return await answer(request, caller, panel, wanted, Kind.COST)

    return routes
