"""Checks of the backends that are servers of their own: do they answer, how soon, and what is it if they do not?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import cast

from agenttrace_core.errors import AgentTraceError, UnavailableError
from agenttrace_core.ports.catalog import MetadataStore
from agenttrace_core.ports.limiter import RateLimiter
from agenttrace_core.registry import make_adapter, without_password
from agenttrace_server.doctor_queue import queue_finding
from agenttrace_server.doctor_storage import storage_finding
from agenttrace_server.findings import Finding, Verdict
from agenttrace_server.settings import Settings

_BURST = 1 << 30
_LEASE = "doctor"


def examine_backends(settings: Settings) -> Iterator[Finding]:
    """Check every backend that is not of this machine."""
    if (finding := queue_finding(settings)) is not None:
        yield finding
    if (finding := storage_finding(settings)) is not None:
        yield finding
    if not settings.metadata.startswith("sqlite:"):
        yield asyncio.run(_catalog(settings.metadata))
    if not settings.cache.startswith("memory:"):
        yield asyncio.run(_cache(settings.cache))


async def _catalog(url: str) -> Finding:
    """Open the catalog, which makes its tables where they are not there yet, and write to it: so it can."""
    try:
        catalog = cast("MetadataStore", make_adapter("metadata", url))
        try:
            await catalog.open()
            await catalog.lease(_LEASE, _LEASE, ttl_s=1)
            await catalog.release(_LEASE, _LEASE)
            began = time.perf_counter()
            version = await catalog.version()
            took_s = time.perf_counter() - began
        finally:
            await catalog.aclose()
    except UnavailableError as error:
        return Finding(
            "catalog", Verdict.WRONG, str(error), "start it: until then nothing is written to files or can be read"
        )
    except AgentTraceError as error:
        return Finding(
            "catalog", Verdict.WRONG, str(error), "mend the setting `metadata`, or the database that it names"
        )
    where = without_password(url).partition("?")[0]
    return Finding("catalog", Verdict.GOOD, f"{where} answers in {took_s * 1e3:.2f} ms, {version} changes so far")


async def _cache(url: str) -> Finding:
    where = without_password(url)
    try:
        limiter = cast("RateLimiter", make_adapter("limiter", url, key="cache"))
        try:
            await limiter.open()
            await limiter.take("doctor", 0, per_second=_BURST, burst=_BURST)
            began = time.perf_counter()
            await limiter.take("doctor", 0, per_second=_BURST, burst=_BURST)
            took_s = time.perf_counter() - began
        finally:
            await limiter.aclose()
    except UnavailableError as error:
        return Finding(
            "cache", Verdict.NOTE, str(error),
            "start it: until then each process limits projects by itself, and looks where it would be woken",
        )  # fmt: skip
    except AgentTraceError as error:
        return Finding("cache", Verdict.WRONG, str(error), "mend the setting `cache`, or the server that it names")
    return Finding("cache", Verdict.GOOD, f"{where} answers in {took_s * 1e3:.2f} ms")
