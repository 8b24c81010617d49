"""Check of a storage that is a service: can an object be put, read and deleted, and are the wanted tiers there?"""

from __future__ import annotations

import asyncio
import os
import time
from typing import cast

from agenttrace_core.errors import AgentTraceError, ConfigurationError, UnavailableError
from agenttrace_core.model.retention import Tier
from agenttrace_core.ports.storage import LocalObjects, ObjectStorage, TieredObjects
from agenttrace_core.registry import make_adapter, without_password
from agenttrace_server.findings import Finding, Verdict
from agenttrace_server.settings import Settings


def storage_finding(settings: Settings) -> Finding | None:
    """Put a small object, read it and delete it again; None for a storage that is a folder."""
    try:
        storage = cast("ObjectStorage", make_adapter("storage", settings.storage))
        if isinstance(storage, LocalObjects):
            return None
        return asyncio.run(_tried(storage, settings))
    except AgentTraceError as error:
        return Finding("storage", Verdict.WRONG, str(error), "start what `storage` names, or correct it")


async def _tried(storage: ObjectStorage, settings: Settings) -> Finding:
    key, body = f"doctor/{os.urandom(8).hex()}", os.urandom(1 << 16)
    try:
        await storage.open()
        begun = time.perf_counter()
        await storage.put(key, [body])
        took_ms = (time.perf_counter() - begun) * 1e3
        try:
            if await storage.get(key) != body:
                raise UnavailableError("what was put is not what is got")
            refused = await _refused_tier(storage, key) if settings.retention.tiers.enabled else None
        finally:
            await storage.delete(key)
    finally:
        await storage.aclose()
    found = f"{without_password(settings.storage)} takes an object of 64 KiB in {took_ms:.0f} ms, and returns it"
    if refused is not None:
        return Finding("storage", Verdict.NOTE, f"{found}; {refused}", "set retention.tiers.enabled = false")
    return Finding("storage", Verdict.GOOD, found)


async def _refused_tier(storage: ObjectStorage, key: str) -> str | None:
    """Return why payloads cannot be moved; None if they can."""
    if not isinstance(storage, TieredObjects):
        return "it has no tiers, and retention.tiers.enabled asks for some"
    try:
        await storage.move(key, Tier.INFREQUENT)
    except ConfigurationError as error:
        return f"it has no tiers, and retention.tiers.enabled asks for some: {error}"
    return None
