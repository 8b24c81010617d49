"""The API is what its OpenAPI document says: asked anything that fits it, and much that does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from agenttrace_server.auth import Authenticator
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.query.app import make_api_app
from agenttrace_server.query.services import ApiServices
from tests.integration.api import AT_ONCE, open_api, otlp, span

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_WITHOUT_END = "/api/v1/live"


def _doors() -> list[tuple[str, str]]:
    services = cast("ApiServices", SimpleNamespace(ingest=SimpleNamespace(admission=None)))
    app = cast("Any", make_api_app(services, Authenticator((), bind_host="127.0.0.1"), DoorConfig())).app
    paths = app.openapi()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods if path != _WITHOUT_END]


DOORS = _doors()


class _Server:
    """A real server in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self._folder = folder
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> _Server:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _serve(self) -> None:
        async with open_api(self._folder, AT_ONCE) as api:
            failed = {"status": {"code": 2, "message": "no"}}
            await api.store(otlp([span(1), span(2, **failed), span(3, traceId=f"{7:032x}")]))
            unpriced = {"operation": "chat", "model": "nobody-knows", "agent": "a", "input_tokens": 5, "prompt": "p"}
            await api.store({"session_id": "s", "user_id": "u", "spans": [{"name": "chat", **unpriced}]})
            self.url = api.url
            self._ready.set()
            await asyncio.to_thread(self._stop.wait)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with _Server(tmp_path_factory.mktemp("schema")) as running:
        yield running.url


@pytest.fixture(scope="module")
def described(server: str) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{server}/openapi.json", timeout=60)


@pytest.mark.parametrize(("method", "path"), DOORS, ids=[" ".join(door) for door in DOORS])
def test_every_answer_is_one_that_is_described(described: schemathesis.BaseSchema, method: str, path: str) -> None:
    """Lost otherwise: clients made from the document, and the server's composure before odd questions."""

    @given(case=described[path][method].as_strategy() | described[path][method].as_strategy(GenerationMode.NEGATIVE))
    @settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=_CHECKS, timeout=20)

    ask()
