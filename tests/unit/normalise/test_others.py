"""The map of all attributes. If these fail, what a sender wrote cannot be searched for."""

from __future__ import annotations

from typing import Any

from agenttrace_core.model.span import Quality
from tests.unit.normalise.spans import rows_of


def test_the_map_holds_every_short_scalar_as_text() -> None:
    attributes = {"a": "x", "b": 3, "c": 0.25, "d": True, "e": "", "gen_ai.operation.name": "chat"}
    rows = rows_of([{"attributes": attributes, "resource": {"service.name": "s", "pid": 7}}, {"attributes": {}}])
    first, second = rows.to_pylist()
    expected = {"a": "x", "b": "3", "c": "0.25", "d": "true", "e": "", "gen_ai.operation.name": "chat",
                "resource.service.name": "s", "resource.pid": "7"}  # fmt: skip
    assert dict(first["attributes"]) == expected
    assert (first["more_attributes"], second["more_attributes"]) == (False, False)
    assert second["attributes"] == []


def test_what_is_long_or_nested_is_in_the_payload_alone_and_the_row_says_so() -> None:
    cases: list[dict[str, Any]] = [
        {"attributes": {"a": "x" * 256, "b": "y" * 257}},
        {"attributes": {"a": [1, 2]}},
        {"attributes": {"a": {"b": 1}}},
        {"attributes": {"k" * 257: 1}},
        {"attributes": {}, "resource": {"r": "z" * 257}},
        {"attributes": {"a": 1}},
    ]
    rows = rows_of(cases).to_pylist()
    assert [row["more_attributes"] for row in rows] == [True, True, True, True, True, False]
    named = [dict(row["attributes"]) for row in rows]
    assert named == [{"a": "x" * 256, "b": None}, {"a": None}, {"a": None}, {}, {"resource.r": None}, {"a": "1"}]


def test_bad_utf8_is_shown_with_a_replacement_and_marked_on_its_own_span() -> None:
    rows = rows_of([{"attributes": {"a": "\ud800"}}, {"attributes": {"a": "good"}}]).to_pylist()
    assert [Quality.BAD_UTF8 in Quality(row["quality"]) for row in rows] == [True, False]
    assert "\ufffd" in dict(rows[0]["attributes"])["a"]
