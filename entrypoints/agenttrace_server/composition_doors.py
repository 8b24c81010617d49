"""What the doors are made of."""

from __future__ import annotations

from contextlib import AsyncExitStack

from agenttrace_server.composition import Opened
from agenttrace_server.composition_ingest import authenticator, door_config, ingest_service
from agenttrace_server.composition_place import Place
from agenttrace_server.ingestion.serve import serve
from agenttrace_server.settings import Settings
from agenttrace_server.supervisor_sockets import authority, listen


async def run_ingest(settings: Settings, place: Place) -> None:
    """Serve OTLP until told to stop, and let what is under way end."""
    ingest = settings.ingest
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(place.listener or listen("ingest.port", ingest.host, ingest.port))
        service, metrics = await ingest_service(settings, Opened(settings, stack))
        await serve(
            service,
            authenticator(settings, ingest.host),
            door_config(settings, ingest.host),
            metrics,
            http_socket=listener,
            grpc_address=authority(ingest.host, ingest.grpc_port),
            started=lambda _: place.on_ready(),
            stop=place.stop,
        )
