"""Parts that serve nobody say how they are, where they are asked to."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.running import environment, until
from tests.servers.process import free_port


@pytest.fixture(params=["write", "compact"])
def part(request: pytest.FixtureRequest) -> str:
    """A part without a port of its own."""
    name: str = request.param
    return name


@pytest.fixture
def url(part: str, tmp_path: Path) -> Iterator[str]:
    """The address at which it says so, while it runs."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "agenttrace_server", part, "--data", str(tmp_path / "data")],
        env=environment(AGENTTRACE_METRICS__PORT=str(port)),
    )
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=40) == 0
    finally:
        process.kill()
        process.wait()


def _status(url: str, **headers: str) -> int:
    try:
        return httpx.get(url, timeout=10, headers=headers).status_code
    except httpx.TransportError:
        return 0


def test_a_part_tells_whether_it_works_and_what_it_did(url: str, tmp_path: Path) -> None:
    """What watches over containers would have to guess, and the next one would be started too early."""
    until(lambda: _status(f"{url}/readyz") == 200)
    assert _status(f"{url}/healthz") == 200
    (tmp_path / "data" / "metrics" / "figures.prom").write_text("agenttrace_made_up_total 1.0\n")
    assert "agenttrace_made_up_total 1.0" in httpx.get(f"{url}/metrics", timeout=10).text
    assert _status(f"{url}/api/v1/traces") == 404
    assert httpx.post(f"{url}/healthz", timeout=10).status_code == 405
    assert _status(f"{url}/metrics", host="evil.example") == 403
