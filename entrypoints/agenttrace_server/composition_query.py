"""What the API is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from agenttrace_core.services.analytics import AnalyticsService
from agenttrace_core.services.arrivals import ArrivalService
from agenttrace_core.services.ask import AskService
from agenttrace_core.services.complete import CompletionService
from agenttrace_core.services.entities import EntityService
from agenttrace_core.services.error_groups import ErrorGroupService
from agenttrace_core.services.letters import LetterService
from agenttrace_core.services.queries import logs_of, queries_of
from agenttrace_core.services.read import ReadService
from agenttrace_core.services.score_figures import ScoreFiguresService
from agenttrace_core.services.scores import ScoreService
from agenttrace_core.services.view import PublishedViews, Views
from agenttrace_server.composition import CURSOR_SECRET, RECEIPT_SECRET, Opened
from agenttrace_server.composition_ingest import authenticator, door_config, ingest_service
from agenttrace_server.composition_meter import figures
from agenttrace_server.composition_place import Place
from agenttrace_server.composition_prices import pricing_of
from agenttrace_server.query.app import make_api_app
from agenttrace_server.query.patience import Patience, QueryLimits
from agenttrace_server.query.serve import serve
from agenttrace_server.query.services import ApiServices
from agenttrace_server.settings import Settings
from agenttrace_server.supervisor import parts_ready
from agenttrace_server.supervisor_sockets import listen


def query_limits(settings: Settings) -> QueryLimits:
    """Return what questions may take."""
    query = settings.query
    return QueryLimits(query.timeout, query.concurrent, max_rows=query.max_rows, streams=query.streams)


async def run_query(settings: Settings, place: Place) -> None:
    """Serve the API until told to stop, and let what is under way end."""
    host = settings.query.host
    listener = place.listener or listen("query.port", host, settings.query.port)
    async with AsyncExitStack() as stack:
        opened = Opened(settings, stack)
        catalog, live, queue, index = (
            await opened.catalog(), await opened.live(), await opened.queue(), await opened.index()
        )  # fmt: skip
        ingest, _ = await ingest_service(settings, opened)
        cursor_key = await catalog.secret(CURSOR_SECRET)
        views, queries = Views(PublishedViews(catalog, live), queue), queries_of(index)
        read = ReadService(
            views,
            index,
            receipt_key=await catalog.secret(RECEIPT_SECRET),
            cursor_key=cursor_key,
            broken_after_s=settings.query.broken_after,
            pricing=pricing_of(settings),
        )

        async def parts() -> Mapping[str, bool]:
            return parts_ready(settings.data) if place.supervised else {"query": True}

        services = ApiServices(
            read=read,
            ask=AskService(read, index, cursor_key=cursor_key),
            analytics=AnalyticsService(views, queries),
            entities=EntityService(views, queries, cursor_key=cursor_key),
            error_groups=ErrorGroupService(views, queries, cursor_key=cursor_key),
            scores=ScoreService(views, logs_of(index), ingest, cursor_key=cursor_key),
            score_figures=ScoreFiguresService(views, queries, logs_of(index)),
            complete=CompletionService(views, index),
            arrivals=ArrivalService(read, index, cursor_key=cursor_key),
            patience=Patience(query_limits(settings)),
            ingest=ingest,
            letters=LetterService(catalog, await opened.storage(), ingest),
            parts=parts,
            figures=lambda: figures(settings.data),
            stopping=place.stop.is_set,
        )
        config = door_config(settings, host)
        app = make_api_app(services, authenticator(settings, host), config)
        background = asyncio.create_task(ingest.run())
        try:
            await serve(app, config, listener, started=place.on_ready, stop=place.stop)
        finally:
            ingest.close()
            await asyncio.shield(background)
