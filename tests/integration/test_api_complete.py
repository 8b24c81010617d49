"""Completion over HTTP, from spans that were sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agenttrace_server.query import models
from tests.integration.api import LATER, Api, open_api, otlp, span

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(tmp_path, LATER) as api:
        attributes = [{"key": "gen_ai.request.model", "value": {"stringValue": "gpt 4o"}}]
        await api.store(otlp([span(1, attributes=attributes), span(2)]), state="readable")
        yield api


async def test_values_are_those_that_occur(api: Api) -> None:
    """Lost otherwise: the names that nobody remembers."""
    answer = await api.get("/api/v1/complete", q="status:ok model:gp")
    found = models.Completion.model_validate_json(answer.content)
    assert (found.start, found.end) == (16, 18)
    assert [(item.text, item.kind.value, item.spans) for item in found.items] == [('"gpt 4o"', "value", 1)]


async def test_fields_are_those_of_the_language_at_the_cursor(api: Api) -> None:
    """Lost otherwise: the vocabulary of the language, where it is needed."""
    answer = await api.get("/api/v1/complete", q="mod status:ok", at=3)
    assert [item["text"] for item in answer.json()["items"]] == ["model:"]


async def test_keys_are_completed_after_their_prefix(api: Api) -> None:
    """Lost otherwise: any attribute at all can be asked for, by those who know its key by heart."""
    answer = await api.get("/api/v1/complete", q="attr.gen_ai.req")
    assert [item["text"] for item in answer.json()["items"]] == ["attr.gen_ai.request.model:"]


async def test_nothing_of_another_project_is_suggested(api: Api) -> None:
    """Lost otherwise: another project's vocabulary, which may be its customers' names."""
    answer = await api.get("/api/v1/complete", "red", q="model:")
    assert answer.json()["items"] == []


@pytest.mark.parametrize("query", [{"q": "a" * 20_000}, {"q": "a\0"}, {"q": "a", "at": 9}, {"at": -1}, {"limit": 0}])
async def test_what_is_out_of_bounds_is_refused(api: Api, query: dict[str, str | int]) -> None:
    """Lost otherwise: 500 for whoever tries."""
    answer = await api.get("/api/v1/complete", **query)
    assert answer.status_code == 400
    models.Error.model_validate_json(answer.content)
