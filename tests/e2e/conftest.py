"""A server for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import RunningServer


@pytest.fixture
def stopped_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that has not been started; it is ended with the test."""
    server = RunningServer(tmp_path / "data")
    try:
        yield server
    finally:
        server.destroy()


@pytest.fixture
def server(stopped_server: RunningServer) -> RunningServer:
    """A server with all doors open."""
    stopped_server.start()
    return stopped_server
