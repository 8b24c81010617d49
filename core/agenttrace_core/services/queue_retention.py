"""Watches a queue that forgets by itself: what is not written in time is lost there, and nobody else says so."""

from __future__ import annotations

import logging

import anyio

from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.metrics import Meter
from agenttrace_core.ports.queue import Retaining, Retention

_log = logging.getLogger(__name__)

LITTLE = 0.2
"""The part of a retention below which what is left of it is little."""
_EVERY_S = 30.0


async def watch_retention(queue: Retaining, catalog: MetadataStore, meter: Meter, every_s: float = _EVERY_S) -> None:
    """Tell the seconds left as a gauge, and warn when they are few; for as long as the caller does not cancel it."""
    while True:
        try:
            _, watermarks = await catalog.watermarks()
            retention = await queue.retention(watermarks)
        except UnavailableError as error:
            _log.debug("the queue's retention is not known: %s", error)
        else:
            if retention is None:
                return
            _tell(retention, meter)
        await anyio.sleep(every_s)


def _tell(retention: Retention, meter: Meter) -> None:
    meter.gauge("queue_retention_seconds_left", retention.left_s)
    if retention.left_s <= 0:
        _log.error("the queue has forgotten records that were not written: its retention is %g s", retention.total_s)
    elif retention.left_s < LITTLE * retention.total_s:
        _log.warning(
            "the queue forgets records that are not written yet in %g s; its retention is %g s",
            retention.left_s,
            retention.total_s,
        )
