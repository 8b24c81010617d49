"""The API's application: its routes put together behind the guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from agenttrace_core.version import __version__
from agenttrace_server.auth import Authenticator
from agenttrace_server.hosts import HostGuard
from agenttrace_server.ingestion.bodies import BodyReader
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.query import failures
from agenttrace_server.query.guard import ApiMetrics, App, Guard
from agenttrace_server.query.page import page
from agenttrace_server.query.routes import (
    analytics,
    complete,
    entities,
    health,
    letters,
    live,
    media,
    scores,
    sending,
    spans,
    traces,
)
from agenttrace_server.query.services import ApiServices


def make_api_app(services: ApiServices, authenticator: Authenticator, config: DoorConfig) -> App:
    """Return the ASGI application of the API port.

    Args:
        services: what answers.
        authenticator: finds the project of each request.
        config: the bounds on bodies, and the names of this port.
    """
    metrics = ApiMetrics()
    # FastAPI's own page loads its parts from the internet, and is blank without.
    app = FastAPI(title="AgentTrace", version=__version__, docs_url=None, redoc_url=None)
    bodies = BodyReader(config, services.ingest.admission)
    for router in (
        traces.router(services),
        spans.router(services),
        analytics.router(services),
        complete.router(services),
        entities.router(services),
        live.router(services),
        media.router(services),
        sending.router(services, bodies),
        scores.router(services, bodies),
        letters.router(services),
    ):
        app.include_router(router, responses=failures.RESPONSES)
    app.include_router(health.router(services, metrics))
    app.add_api_route("/docs", _described(app), include_in_schema=False)
    failures.install(app)
    return Guard(app, authenticator, HostGuard(config.bind_host, config.allowed_hosts), metrics)


def _described(app: FastAPI) -> Callable[[], Awaitable[Response]]:
    async def docs() -> Response:
        return HTMLResponse(page(app.openapi()))

    return docs
