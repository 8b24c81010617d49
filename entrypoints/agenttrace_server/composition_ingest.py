"""What every process that takes spans is made of: the doors, and the API, which takes some too."""

from __future__ import annotations

from functools import partial

from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.admission import Admission, IngestLimits, backlog_bytes
from agenttrace_core.services.appender import Appender
from agenttrace_core.services.ingest import IngestService
from agenttrace_core.services.refusals import Refusals
from agenttrace_server.auth import Authenticator
from agenttrace_server.composition import RECEIPT_SECRET, Opened
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.metrics import DoorMetrics
from agenttrace_server.settings import Settings

_HEAD_BYTES = 16 << 10
"""What a record of refused input says before the input."""


async def ingest_service(settings: Settings, opened: Opened) -> tuple[IngestService, DoorMetrics]:
    """Return the service that takes requests, and the figures that it keeps."""
    limits = ingest_limits(settings)
    catalog, queue = await opened.catalog(), await opened.queue()
    sees_backlog = queue.capabilities.byte_offsets
    admission = Admission(limits, await opened.limiter(), stand_in=await opened.stand_in(), bounds_backlog=sees_backlog)
    metrics = DoorMetrics(admission)
    appender = Appender(queue, await _storage_for_long_bodies(settings, opened, queue))
    service = IngestService(
        appender,
        await catalog.secret(RECEIPT_SECRET),
        admission=admission,
        refusals=Refusals(appender, limits),
        metrics=metrics,
        backlog=partial(backlog_bytes, queue, catalog) if sees_backlog else None,
    )
    return service, metrics


async def _storage_for_long_bodies(settings: Settings, opened: Opened, queue: SpanQueue) -> ObjectStorage | None:
    """Return where bodies go that the queue does not take; None, and no client in memory, where it takes all."""
    longest = settings.ingest.max_decompressed_bytes + _HEAD_BYTES
    return None if queue.capabilities.max_record_bytes >= longest else await opened.storage()


def authenticator(settings: Settings, bind_host: str) -> Authenticator:
    """Return what finds the project of a caller of a port."""
    keys = ((key.project, key.sha256) for key in settings.auth.keys)
    return Authenticator(keys, bind_host=bind_host, local=settings.auth.local)


def ingest_limits(settings: Settings) -> IngestLimits:
    """Return the bounds on what is taken."""
    ingest = settings.ingest
    return IngestLimits(
        max_backlog_bytes=ingest.max_backlog_bytes,
        max_in_flight_bytes=ingest.max_in_flight_bytes,
        project_bytes_per_s=ingest.project_bytes_per_s,
        project_burst_bytes=ingest.project_burst_bytes,
    )


def door_config(settings: Settings, bind_host: str) -> DoorConfig:
    """Return the bounds and names of a port that is bound to ``bind_host``."""
    ingest = settings.ingest
    return DoorConfig(
        bind_host=bind_host,
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=ingest.allowed_origins,
        max_body_bytes=ingest.max_body_bytes,
        max_decompressed_bytes=ingest.max_decompressed_bytes,
        body_timeout_s=ingest.body_timeout,
        max_connections=ingest.max_connections,
    )
