"""A whole server whose objects are on S3: spans go there, come back from there, and out of an archive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.running import RunningServer, until
from tests.servers.archive_proxy import ArchiveProxy
from tests.servers.s3 import S3Bucket

_TRACE, _SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
_DAY_NS = 86_400_000_000_000


@pytest.fixture
def server(versitygw_bucket: S3Bucket, archive: ArchiveProxy, tmp_path: Path) -> Iterator[RunningServer]:
    bucket = replace(versitygw_bucket, place=archive.place)
    server = RunningServer(
        tmp_path / "data",
        **bucket.place.environment(),
        AGENTTRACE_STORAGE=bucket.url(),
        AGENTTRACE_WRITE__FLUSH_AGE="500ms",
        AGENTTRACE_RETENTION__TIERS__ENABLED="true",
    )
    server.start()
    yield server
    server.destroy()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def _request(prompt: str, start_ns: int) -> dict[str, Any]:
    span = {
        "traceId": _TRACE, "spanId": _SPAN, "name": "chat", "kind": 3, "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(start_ns + 10**9),
        "attributes": [{"key": "gen_ai.prompt", "value": {"stringValue": prompt}}],
    }  # fmt: skip
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


@pytest.mark.timeout(240)
def test_spans_on_s3_and_in_its_archive(server: RunningServer, archive: ArchiveProxy, client: httpx.Client) -> None:
    """What is archived is still found and shown as far as light rows go; the rest is restored for who asks."""
    doors = server.endpoints()
    # Random enough to stay long when it is compressed.
    prompt = "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(60_000))
    sent = client.post(f"{doors['otlp_http']}/v1/traces", json=_request(prompt, time.time_ns() - 100 * _DAY_NS))
    assert sent.status_code == 200, sent.text
    api = f"{doors['api']}/api/v1/traces/{_TRACE}"
    until(lambda: [path for path, name in archive.classes.items() if name == "DEEP_ARCHIVE"])
    assert until(lambda: client.get(api).json().get("spans"))
    refused = until(lambda: (r := client.get(f"{api}/spans/{_SPAN}")).status_code == 409 and r)
    assert refused.json()["error"]["kind"] == "archived"
    assert "a restore is under way" in refused.json()["error"]["message"]
    assert len(archive.restoring) == 1
    archive.finish_restores()
    restored = client.get(f"{api}/spans/{_SPAN}")
    assert restored.status_code == 200, restored.text
    assert prompt[:1000] in restored.text
