"""The rules, each by an example. If these fail, a dialect means something else in AgentTrace than its senders meant."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agenttrace_core.normalise import canonical
from agenttrace_core.normalise.promote import Filled, promote
from agenttrace_core.normalise.rules import RULES, parse_rules
from tests.unit.normalise.spans import rows_of

CASES: list[dict[str, Any]] = [
    case
    for file in sorted((Path(__file__).parent / "fixtures").glob("*.toml"))
    for case in tomllib.loads(file.read_text())["case"]
]


@pytest.mark.parametrize("case", CASES, ids=[case["about"] for case in CASES])
def test_a_span_means_what_its_dialect_says(case: dict[str, Any]) -> None:
    row = rows_of([case]).to_pylist()[0]
    for column, expected in case["expect"].items():
        wanted = None if expected == "" else Decimal(expected) if column.endswith("_usd") else expected
        assert row[column] == wanted, column


def test_spans_of_many_dialects_in_one_batch_mean_the_same_as_alone() -> None:
    """A batch is worked on as columns: what one span carries must never tell of another."""
    together = rows_of(CASES).to_pylist()
    for row, case in zip(together, CASES, strict=True):
        alone = rows_of([case]).to_pylist()[0]
        assert row | {"position": 0} == alone


def test_every_source_of_every_rule_has_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that no example reaches may be misspelt, or hidden behind another."""
    seen: dict[str, set[int]] = {rule.column: set() for rule in RULES}

    def watched(batch: Any) -> dict[str, Filled]:
        filled = promote(batch)
        for column, found in filled.items():
            seen[column].update(np.unique(found.source).tolist())
        return filled

    monkeypatch.setattr(canonical, "promote", watched)
    rows_of(CASES)
    unseen = [
        f"{rule.column}: {source.id}"
        for rule in RULES
        for number, source in enumerate(rule.sources)
        if number not in seen[rule.column]
    ]
    assert unseen == []


def test_a_misspelt_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="patern"):
        parse_rules({"tool": {"type": "text", "sources": [{"key": "a", "patern": "b"}]}})
    with pytest.raises(ValueError, match="unknown fields"):
        parse_rules({"tool": {"type": "text", "sources": [], "level": "span"}})
