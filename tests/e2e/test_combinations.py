"""``agenttrace up`` on mixtures of backends: each pair of adapters that can meet does, in one of these."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.running import RunningServer, until
from tests.servers.s3 import S3Bucket

# queue, storage, metadata, cache: True is the one of a service. Of any two, all four pairs are here.
_MIXTURES = [
    (True, True, True, False),
    (True, False, False, False),
    pytest.param((False, False, True, True), marks=pytest.mark.slow),
    pytest.param((False, True, False, False), marks=pytest.mark.slow),
    pytest.param((True, True, False, True), marks=pytest.mark.slow),
]
_PATIENCE_S = 120.0
_NAMES = (("log", "kafka"), ("file", "s3"), ("sqlite", "postgresql"), ("memory", "redis"))


@pytest.fixture(params=_MIXTURES, ids=lambda chosen: "-".join(n[c] for n, c in zip(_NAMES, chosen, strict=True)))
def mixed_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    """A server with its doors open, on some services."""
    on_kafka, on_s3, on_postgres, on_redis = request.param
    variables: dict[str, str] = {"AGENTTRACE_WRITE__FLUSH_AGE": "1s"}
    if on_kafka:
        variables["AGENTTRACE_QUEUE"] = request.getfixturevalue("kafka_url")
    if on_s3:
        bucket: S3Bucket = request.getfixturevalue("minio_bucket")
        variables |= {**bucket.place.environment(), "AGENTTRACE_STORAGE": bucket.url()}
    if on_postgres:
        variables["AGENTTRACE_METADATA"] = request.getfixturevalue("postgres_url")
    if on_redis:
        variables["AGENTTRACE_CACHE"] = request.getfixturevalue("redis_url")
    server = RunningServer(tmp_path / "data", **variables)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


def _send(server: RunningServer, trace: int) -> None:
    now = time.time_ns()
    span = {
        "traceId": f"{trace:032x}", "spanId": f"{trace:016x}", "name": "asked",
        "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1),
    }  # fmt: skip
    answer = httpx.post(
        f"{server.endpoints()['otlp_http']}/v1/traces",
        content=json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}),
        headers={"content-type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.timeout(300)
def test_a_server_on_any_mixture_keeps_what_it_is_sent(mixed_server: RunningServer) -> None:
    """Lost otherwise: the choice of one backend without all the others."""
    for trace in (1, 2, 3):
        _send(mixed_server, trace)
    until(lambda: len(mixed_server.traces()) == 3, _PATIENCE_S)
    mixed_server.kill("write")
    _send(mixed_server, 4)
    until(lambda: len(mixed_server.traces()) == 4, _PATIENCE_S)
    assert mixed_server.stop() == 0
    mixed_server.start()
    until(lambda: len(mixed_server.traces()) == 4, _PATIENCE_S)
