"""Whether the server serves, and its figures, for whatever watches over it. None of these asks for a key."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from agenttrace_server.query import models
from agenttrace_server.query.guard import ApiMetrics
from agenttrace_server.query.services import ApiServices

_LAG = "agenttrace_query_lag"


def router(services: ApiServices, metrics: ApiMetrics) -> APIRouter:
    """Return the routes; ``metrics`` are this process's own."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> PlainTextResponse:
        """Whether this process answers."""
        return PlainTextResponse("ok\n")

    @routes.get("/readyz", response_model=models.Health, responses={503: {"model": models.Health}})
    async def readyz() -> Response:
        """Whether all parts of the server serve."""
        parts = dict(await services.parts())
        ready = all(parts.values()) and not services.stopping()
        body = {"status": "ready" if ready else "not ready", "parts": parts}
        return JSONResponse(body, status_code=200 if ready else 503)

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def figures() -> Response:
        """The figures of all processes of the server, in Prometheus' text format."""
        lag = (await services.read.view()).lag
        told = (("bytes", lag.lag_bytes), ("records", lag.lag_records))
        own = [f"# TYPE {_LAG}_{unit} gauge\n{_LAG}_{unit} {count}\n" for unit, count in told if count is not None]
        body = metrics.exposition() + "".join(own).encode() + services.figures()
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
