"""What the API is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from agenttrace_core.normalise.prices.pricing import Pricing
from agenttrace_core.services.analytics import AnalyticsService
from agenttrace_core.services.arrivals import ArrivalService
from agenttrace_core.services.ask import AskService
from agenttrace_core.services.complete import CompletionService
from agenttrace_core.services.entities import EntityService
from agenttrace_core.services.error_groups import ErrorGroupService
from agenttrace_core.services.follow import FollowConfig, Follower
from agenttrace_core.services.letters import LetterService
from agenttrace_core.services.queries import logs_of, queries_of
from agenttrace_core.services.read import ReadService
from agenttrace_core.services.score_figures import ScoreFiguresService
from agenttrace_core.services.scores import ScoreService
from agenttrace_core.services.sound_files import SoundFiles
from agenttrace_core.services.view import PublishedViews, Views
from agenttrace_server.composition import CURSOR_SECRET, RECEIPT_SECRET, Opened
from agenttrace_server.composition_ingest import authenticator, door_config, ingest_service
from agenttrace_server.composition_meter import FileMeter, figures
from agenttrace_server.composition_place import Place
from agenttrace_server.composition_prices import pricing_of
from agenttrace_server.query.app import make_api_app
from agenttrace_server.query.patience import Patience, QueryLimits
from agenttrace_server.query.serve import serve
from agenttrace_server.query.services import ApiServices
from agenttrace_server.settings import Settings
from agenttrace_server.supervisor import parts_ready
from agenttrace_server.supervisor_sockets import listen


@asynccontextmanager
async def following(
    settings: Settings, place: Place, opened: Opened, pricing: Pricing, sound: SoundFiles, meter: FileMeter
) -> AsyncGenerator[Follower]:
    """Follow the queue for the length of a block. Should that fail, the part is told to stop, and the block raises why.

    Raises:
        ConfigurationError: the queue is not the one that the catalog was fed from, or has lost records.
    """
    follower = Follower(
        queue=await opened.queue(),
        catalog=await opened.catalog(),
        storage=await opened.storage(),
        index=await opened.second_index(),
        config=follow_config(settings),
        pricing=pricing,
        sound=sound,
        news=await opened.news(),
        meter=meter,
    )
    await asyncio.gather(follower.open(), asyncio.to_thread(pricing.load))
    task = asyncio.create_task(follower.run())

    def end_the_part(_: asyncio.Task[None]) -> None:
        place.stop.set()

    task.add_done_callback(end_the_part)
    try:
        yield follower
    finally:
        task.remove_done_callback(end_the_part)
        if task.done():
            task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def follow_config(settings: Settings) -> FollowConfig:
    """Return how much is followed in memory, and for how long without the catalog."""
    return FollowConfig(live_bytes=settings.query.live_bytes, stale_s=0.8 * settings.compact.grace)


def query_limits(settings: Settings) -> QueryLimits:
    """Return what questions may take."""
    query = settings.query
    return QueryLimits(query.timeout, query.concurrent, max_rows=query.max_rows, streams=query.streams)


async def run_query(settings: Settings, place: Place) -> None:
    """Serve the API until told to stop, and let what is under way end."""
    host = settings.query.host
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(place.listener or listen("query.port", host, settings.query.port))
        opened = Opened(settings, stack)
        catalog, queue, index = await opened.catalog(), await opened.queue(), await opened.index()
        ingest, _ = await ingest_service(settings, opened)
        cursor_key = await catalog.secret(CURSOR_SECRET)
        meter = FileMeter("query")
        pricing = pricing_of(settings)
        sound = SoundFiles(catalog, await opened.storage(), meter=meter)
        source: Follower | PublishedViews
        if opened.follows_queue and not place.supervised:
            source = await stack.enter_async_context(following(settings, place, opened, pricing, sound, meter))
        else:
            source = PublishedViews(catalog, await opened.live())
        views, queries = Views(source, queue, sound=sound), queries_of(index)
        read = ReadService(
            views,
            index,
            receipt_key=await catalog.secret(RECEIPT_SECRET),
            cursor_key=cursor_key,
            broken_after_s=settings.query.broken_after,
            tiers=await opened.tiers(),
            pricing=pricing,
        )

        async def parts() -> Mapping[str, bool]:
            if place.supervised:
                return parts_ready(settings.data)
            return {"query": not isinstance(source, Follower) or source.has_caught_up}

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
            patience=Patience(query_limits(settings), sound),
            ingest=ingest,
            letters=LetterService(catalog, await opened.storage(), ingest),
            parts=parts,
            figures=lambda: meter.exposition() + (b"" if isinstance(source, Follower) else figures(settings.data)),
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
