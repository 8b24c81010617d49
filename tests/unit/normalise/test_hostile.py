"""Attributes are hostile text. If these fail, one sender's span stops the writer for all."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_core.normalise.rules import RULES
from agenttrace_core.schema.tables import ROWS
from tests.unit.normalise.spans import rows_of

KEYS = sorted({source.name for rule in RULES for source in rule.sources if source.kind in ("key", "resource")})
SCOPES = sorted({scope for rule in RULES for source in rule.sources if source.when for scope in source.when.scope})
TEXTS = st.sampled_from([
    "", "0", "-1", "1e400", "nan", "9" * 40, "1" * 5000, "{", "[[", '{"input": ', '{"input": {"input": 1e999}}',
    '{"total": "NaN", "input": true, "output": 9223372036854775808}', "[" * 3000, "{'a': " * 100, "(" * 300, "\0",
    '"{\\"input\\": 1}"', "\ud800", "2026-99-99T99:99:99Z", "9999-12-31T23:59:59+99:99", "0001-01-01T00:00:00Z",
    "total_tokens=1 prompt_tokens=" + "9" * 30, '{"value": 3}', "[1, [2], null]", ",,,", "tool", "pending_span",
])  # fmt: skip
SCALARS = st.one_of(
    TEXTS, st.text(max_size=8), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.none(),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
ATTRIBUTES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.fixed_dictionaries({
    "attributes": ATTRIBUTES, "resource": ATTRIBUTES, "scope": st.sampled_from(["", *SCOPES]),
    "name": TEXTS, "status": st.integers(0, 3), "status_message": TEXTS,
}), min_size=1, max_size=4))  # fmt: skip
def test_whatever_an_attribute_holds_the_span_becomes_a_row(cases: list[dict[str, Any]]) -> None:
    table = rows_of(cases)
    assert table.schema == ROWS
    table.validate(full=True)
    assert len(table) == len(cases)
