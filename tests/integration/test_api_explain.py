"""Why a span's values are what they are, asked of the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_core.normalise.rules import VERSION
from agenttrace_server.query import models
from tests.integration.api import AT_ONCE, LATER, open_api, otlp, span

pytestmark = pytest.mark.anyio

TRACE = f"{1:032x}"


@pytest.mark.parametrize("state", ["readable", "in_files"])
async def test_a_span_is_explained_by_the_attributes_that_it_was_sent_with(tmp_path: Path, state: str) -> None:
    attributes = [
        {"key": "llm.model_name", "value": {"stringValue": "gpt-4o"}},
        {"key": "openinference.span.kind", "value": {"stringValue": "LLM"}},
        {"key": "llm.cost.total", "value": {"doubleValue": 0.5}},
    ]
    async with open_api(tmp_path, LATER if state == "readable" else AT_ONCE) as api:
        await api.store(otlp([span(1, attributes=attributes), span(2)]), state=state)
        answer = await api.get(f"/api/v1/traces/{TRACE}/spans/{1:016x}/explain")
        light = (await api.get(f"/api/v1/traces/{TRACE}/spans/{1:016x}")).json()
        missing = await api.get(f"/api/v1/traces/{TRACE}/spans/{9:016x}/explain")
    found = models.Explanation.model_validate_json(answer.content)
    fields = {reason.field: reason for reason in found.fields}
    assert (found.trace_id, found.version, found.others) == (TRACE, VERSION, [])
    assert fields["model"].rule == "model/llm.model_name"
    assert fields["operation"].attributes == ["openinference.span.kind"]
    assert fields["given_cost_usd"].value == "0.500000000000"
    assert fields["tool"].rule is None
    assert {name: reason.value for name, reason in fields.items()} == {name: light[name] for name in fields}
    assert all(reason.stored is None for reason in found.fields)
    assert missing.status_code == 404
