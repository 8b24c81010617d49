"""A server whose limits are shared through Redis takes spans whether that is there or not, and says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from agenttrace_adapters.redis import RedisEvents
from agenttrace_core.ports.events import CATALOG
from tests.e2e.running import RunningServer, until
from tests.servers.redis import RedisServer

_SPAN_BYTES = 100_000


@pytest.fixture
def server(own_redis: RedisServer, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that lets a project send little more than three requests at once."""
    server = RunningServer(
        tmp_path / "data",
        AGENTTRACE_CACHE=f"{own_redis.place.url}/0",
        AGENTTRACE_INGEST__PROJECT_BYTES_PER_S="1B",
        AGENTTRACE_WRITE__FLUSH_AGE="1s",
        AGENTTRACE_INGEST__PROJECT_BURST_BYTES=f"{3 * _SPAN_BYTES + 10_000}B",
    )
    try:
        server.start()
        yield server
    finally:
        server.destroy()


def _post(server: RunningServer, number: int) -> int:
    span = {
        "traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "name": "s", "startTimeUnixNano": "1",
        "attributes": [{"key": "text", "value": {"stringValue": "x" * (_SPAN_BYTES - 300)}}],
    }  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    headers = {"content-type": "application/json"}
    url = f"{server.endpoints()['otlp_http']}/v1/traces"
    return httpx.post(url, content=body, headers=headers, timeout=30).status_code


def _alone(server: RunningServer) -> float:
    text = httpx.get(f"{server.endpoints()['otlp_http']}/metrics", timeout=30).text
    return float(
        next(line for line in text.splitlines() if line.startswith("agenttrace_ingest_limits_alone")).split()[1]
    )


def test_ingestion_goes_on_without_redis_and_limits_by_itself(server: RunningServer, own_redis: RedisServer) -> None:
    """A server that refuses, or hangs, because a counter is away has lost spans for the sake of counting them."""
    assert [_post(server, n) for n in range(4)] == [200, 200, 200, 429]
    assert _alone(server) == 0
    own_redis.stop()
    began = time.monotonic()
    assert [_post(server, n) for n in range(10, 14)] == [200, 200, 200, 429]
    assert time.monotonic() - began < 3.0
    assert _alone(server) == 1
    assert httpx.get(f"{server.endpoints()['api']}/readyz", timeout=30).status_code == 200
    said = "this process limits projects by itself"
    assert server.log().count(said) == 1
    own_redis.start()
    # It comes back empty: the project may send its burst again.
    until(lambda: [_post(server, 20), _alone(server)] == [200, 0])
    assert "processes limit projects together again" in server.log()
    assert server.log().count(said) == 1


def test_others_hear_that_the_catalog_has_changed(server: RunningServer, own_redis: RedisServer) -> None:
    """Processes on other machines would look at the catalog every few seconds, or all the time."""

    async def heard() -> list[str]:
        events = RedisEvents.from_url(f"{own_redis.place.url}/0")
        await events.open()
        try:
            async with events.subscribe(CATALOG) as changes:
                assert await run_sync(_post, server, 0) == 200
                return list(await changes.wait(60))
        finally:
            await events.aclose()

    assert [int(version) > 0 for version in anyio.run(heard)] == [True]
