"""Check of a queue that is a service, and may forget by itself what no writer has written yet."""

from __future__ import annotations

import asyncio

from agenttrace_core.errors import AgentTraceError, NotFoundError
from agenttrace_core.ports.queue import Retaining, Retention
from agenttrace_core.registry import make_adapter, without_password
from agenttrace_core.services.queue_retention import LITTLE
from agenttrace_server.findings import Finding, Verdict
from agenttrace_server.settings import Settings

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


def queue_finding(settings: Settings) -> Finding | None:
    """Look at the queue, and make nothing there; None for one that keeps everything by its nature."""
    place = without_password(settings.queue)
    try:
        queue = make_adapter("queue", settings.queue)
        if not isinstance(queue, Retaining):
            return None
        retention = asyncio.run(_retention(queue))
    except NotFoundError as error:
        return Finding("queue", Verdict.GOOD, f"{error}: it is made at the first start")
    except AgentTraceError as error:
        return Finding("queue", Verdict.WRONG, str(error), "start what `queue` names, or correct it")
    if retention is None:
        return Finding("queue", Verdict.GOOD, f"{place} answers, and keeps records until they are written")
    return _of_retention(place, retention)


async def _retention(queue: Retaining) -> Retention | None:
    try:
        await queue.open_existing()
        return await queue.retention()
    finally:
        await queue.aclose()


def _of_retention(place: str, retention: Retention) -> Finding:
    found = (
        f"{place} answers, and forgets records after {_time(retention.total_s)}, written or not; "
        f"{_time(retention.left_s)} are left of the oldest that is not written"
    )
    if retention.left_s <= 0:
        found = f"{place} has forgotten records that were not written: it keeps them for {_time(retention.total_s)}"
        return Finding("queue", Verdict.WRONG, found, "start writers; give the topic a longer retention (retention.ms)")
    if retention.left_s < LITTLE * retention.total_s:
        return Finding("queue", Verdict.NOTE, found, "start more writers, or give the topic a longer retention")
    return Finding("queue", Verdict.GOOD, found)


def _time(seconds: float) -> str:
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.1f} days"
    return f"{seconds / _HOUR_S:.1f} hours" if seconds >= 2 * _HOUR_S else f"{seconds:.0f} s"
