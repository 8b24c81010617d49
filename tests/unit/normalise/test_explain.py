"""Explanations. If these fail, a wrong value sends its reader to the wrong place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenttrace_core.normalise.explain import EXPLAINED, Reason
from agenttrace_core.normalise.rules import VERSION
from agenttrace_core.schema.tables import LIGHT, PAYLOAD
from agenttrace_core.services.explain import explain_rows
from tests.unit.normalise.coverage import tables
from tests.unit.normalise.spans import rows_of
from tests.unit.normalise.test_rules import CASES


def reasons_of(case: dict[str, Any]) -> dict[str, Reason]:
    rows = rows_of([case])
    explanation = explain_rows(rows.select(LIGHT.names), rows.select(PAYLOAD.names))[0]
    assert explanation.version == VERSION
    assert explanation.stored == {}
    return {reason.column: reason for reason in explanation.reasons}


@pytest.mark.parametrize(
    ("given", "column", "rule", "attributes"),
    [
        ({"gen_ai.request.model": "m"}, "model", "model/gen_ai.request.model", ("gen_ai.request.model",)),
        ({"gen_ai.tool.name": "t"}, "operation", "operation/give:execute_tool", ("gen_ai.tool.name",)),
        ({"langfuse.observation.usage_details": '{"input": 4}'}, "input_tokens",
         "input_tokens/langfuse.observation.usage_details#input", ("langfuse.observation.usage_details#input",)),
        ({"gen_ai.usage.input_tokens": 1, "gen_ai.usage.cache_read.input_tokens": 9}, "input_tokens",
         "input_tokens/gen_ai.usage.input_tokens",
         ("gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens")),
        ({"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 1}, "counted",
         "uncounted/ai.operationId", ("ai.operationId",)),
        ({}, "version", "version/resource:service.version", ("resource.service.version",)),
        ({}, "error_group", "failures/exception.message", ("event:exception#exception.message", "status.message")),
        ({}, "model", None, ()),
    ],
)  # fmt: skip
def test_a_value_names_its_rule_and_its_attributes(
    given: dict[str, Any], column: str, rule: str | None, attributes: tuple[str, ...]
) -> None:
    case = {"attributes": given, "resource": {"service.version": "1"}, "status": 2, "status_message": "no"}
    reason = reasons_of(case)[column]
    assert (reason.rule, reason.attributes) == (rule, attributes)


@pytest.mark.parametrize("case", CASES, ids=[case["about"] for case in CASES])
def test_what_is_explained_is_what_the_column_holds(case: dict[str, Any]) -> None:
    row = rows_of([case]).to_pylist()[0]
    reasons = reasons_of(case)
    assert {column: reasons[column].value for column in EXPLAINED} == {column: row[column] for column in EXPLAINED}
    assert all((reason.rule is None) == (reason.value is None) for reason in reasons.values())


def test_every_value_of_the_recorded_traces_is_explained_as_it_is(corpora: Path) -> None:
    """The same engine promotes and explains; here it is held to it, in whatever order spans come."""
    seen = 0
    for path in sorted((corpora / "dev").glob("*.otlp.jsonl.zst")):
        for table in tables(path):
            for explanation in explain_rows(table.select(LIGHT.names), table.select(PAYLOAD.names)):
                assert explanation.stored == {}
                seen += 1
    assert seen > 7_000
