"""Messages and media through the API."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agenttrace_server.query import models
from tests.integration.api import LATER, Api, open_api, otlp, span

pytestmark = pytest.mark.anyio

T1, S1 = f"{1:032x}", f"{1:016x}"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
PAGE = b"<script>alert(document.domain)</script>" * 3


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(tmp_path, LATER) as api:
        yield api


def _chat(*parts: Any, **more: Any) -> dict[str, Any]:
    messages = json.dumps([{"role": "user", "parts": list(parts)}])
    attributes = [{"key": "gen_ai.input.messages", "value": {"stringValue": messages}}]
    return otlp([span(1, attributes=attributes, **more)])


def _blob(data: bytes, mime_type: str) -> dict[str, Any]:
    return {"type": "blob", "mime_type": mime_type, "content": base64.b64encode(data).decode()}


async def _references(api: Api, project: str | None = None) -> list[dict[str, Any]]:
    answer = await api.get(f"/api/v1/traces/{T1}/spans/{S1}", project)
    found = models.Span.model_validate_json(answer.content)
    assert found.input_messages is not None
    assert found.output_messages is None
    return found.input_messages[0].parts


async def test_a_picture_is_shown_and_nothing_else_is(api: Api) -> None:
    """Lost otherwise: the picture; or the session of whoever looks at a page that a sender called one."""
    hostile = ("text/html", "image/svg+xml", "application/xhtml+xml", "image/png; charset=x", "application/pdf")
    await api.store(_chat(_blob(PNG, "image/png"), *(_blob(PAGE, mime) for mime in hostile)))
    picture, *pages = await _references(api)
    answer = await api.get(f"/api/v1/media/{picture['media_id']}")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    assert "content-disposition" not in answer.headers
    for page in pages:
        answer = await api.get(f"/api/v1/media/{page['media_id']}")
        assert answer.content == PAGE
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


async def test_media_are_the_projects_own(api: Api) -> None:
    """Lost otherwise: one project's pictures, to another that has seen an id."""
    await api.store(_chat(_blob(PNG, "image/png")), "red")
    await api.store(_chat("another conversation, in a span of the same id"), "blue")
    [part] = await _references(api, "red")
    path = f"/api/v1/media/{part['media_id']}"
    assert (await api.get(path, "red")).content == PNG
    for project in ("blue", None):
        answer = await api.get(path, project)
        assert answer.status_code == 404
        assert models.Error.model_validate_json(answer.content).error.kind == "not_found"
    for forged in ("x", part["media_id"][:-2], "A" * 54, part["media_id"][:-3] + "AAA"):
        assert (await api.get(f"/api/v1/media/{forged}", "red")).status_code == 404


async def test_a_span_of_megabytes_reads_with_its_picture_taken_out(api: Api) -> None:
    """Lost otherwise: the reader's memory, to a conversation that is mostly base64."""
    large = PNG * 15_000
    await api.store(_chat(_blob(large, "image/png")))
    [part] = await _references(api)
    assert part["bytes"] == len(large)
    assert (await api.get(f"/api/v1/media/{part['media_id']}")).content == large


async def test_a_deep_and_broken_conversation_is_answered(api: Api) -> None:
    """Lost otherwise: the page of a span that is as strange as they come."""
    deep = "[" * 3_000 + '"\\ud800"' + "]" * 3_000
    attributes = [{"key": key, "value": {"stringValue": deep}} for key in ("input.value", "gen_ai.output.messages")]
    await api.store(otlp([span(1, attributes=attributes)]))
    answer = await api.get(f"/api/v1/traces/{T1}/spans/{S1}")
    assert answer.status_code == 200
    assert answer.content.count(b"\\ud800") >= 2
