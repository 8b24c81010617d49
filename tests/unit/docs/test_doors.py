"""The doors in the documentation are those of the API."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

from agenttrace_server.auth import Authenticator
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.query.app import make_api_app
from agenttrace_server.query.services import ApiServices
from tests.unit.docs.pages import TREE

REFERENCE = (TREE / "docs" / "api-reference.md").read_text(encoding="utf-8")
HTTP_API = REFERENCE[REFERENCE.index("\n## HTTP API") : REFERENCE.index("\n## Command line")]


def test_the_reference_names_every_route_of_the_api_and_no_other() -> None:
    """A route that no page names is found by nobody; one that is gone answers 404 to those who read of it."""
    described = _openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    told = {
        re.sub(r"\{id\}", "{}", re.sub(r"\{\w+_id\}", "{}", door))
        for door in re.findall(r"`((?:GET|POST|DELETE) /[^`?]*)`", HTTP_API)
    }
    assert told == {re.sub(r"\{\w+\}", "{}", door) for door in served}


def test_the_reference_names_every_field_of_a_light_span() -> None:
    """The light row is what everybody who reads traces builds on."""
    fields = _openapi()["components"]["schemas"]["LightSpan"]["properties"]
    assert [name for name in fields if f"`{name}`" not in HTTP_API] == []


def _openapi() -> dict[str, Any]:
    services = cast("ApiServices", SimpleNamespace(read=None, ingest=SimpleNamespace(admission=None), letters=None))
    app = make_api_app(services, Authenticator((), bind_host="127.0.0.1"), DoorConfig())
    described: dict[str, Any] = cast("Any", app).app.openapi()
    return described
