"""Spans by their scores, and texts that only a payload has: what the columns of light rows can't say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from agenttrace_core.model.algebra import Attribute, Compare, NoneOf, Op, Or, Present, Score, Some, Value
from agenttrace_core.query.relations import walk
from agenttrace_core.query.score_match import ScoresByName, score_names
from agenttrace_core.query.scores import EffectiveScores
from agenttrace_core.query.times import format_time, parse_time
from agenttrace_core.schema.tables import SCORES
from agenttrace_core.wire.any_value import encode_attributes
from agenttrace_core.wire.payload_texts import SpanPayloads
from agenttrace_core.wire.proto_bytes import delimited

_A, _B = "a" * 32, "b" * 32
_ROWS = pa.table({"trace_id": [_A, _A, _B], "span_id": ["1" * 16, "2" * 16, "1" * 16]})


def _scores(*given: dict[str, Any]) -> ScoresByName:
    empty: dict[str, Any] = dict.fromkeys(SCORES.names)
    base = empty | {"project": "p", "name": "good", "time_ns": 0, "received_ns": 0, "partition": 0, "offset": 0}
    rows = [base | {"position": i} | score for i, score in enumerate(given)]
    table = pa.table([pa.array([row[f.name] for row in rows], f.type) for f in SCORES], schema=SCORES)
    return ScoresByName({"good": EffectiveScores.of(table)})


@pytest.mark.parametrize(
    ("op", "value", "found"),
    [
        (None, None, [True, True, False]),
        (Op.LT, Decimal("0.5"), [False, True, False]),
        (Op.EQ, 1, [True, False, False]),
        (Op.EQ, "true", [True, False, False]),
        (Op.EQ, "fine", [False, True, False]),
        (Op.GLOB, "f*", [False, True, False]),
        (Op.GT, Decimal(1), [False, False, False]),
    ],
)
def test_a_spans_score_is_its_own_else_its_traces(op: Op | None, value: Value | None, found: list[bool]) -> None:
    """Lost otherwise: a judge's word on a trace, or on the span that it is about."""
    scores = _scores(
        {"trace_id": _A, "value": 1.0}, {"trace_id": _A, "span_id": "2" * 16, "value": 0.25, "label": "fine"}
    )
    assert scores.matches(_ROWS, "good", op, value).tolist() == found
    assert scores.texts(_ROWS, "good").to_pylist() == ["1.0", "fine", None]
    assert not scores.matches(_ROWS, "unknown", op, value).any()


def test_the_scores_that_a_question_needs_are_those_it_names() -> None:
    """Lost otherwise: a filter by a score that was never read."""
    one, other = Compare(Score("a"), Op.LT, 1), Present(Score("b"))
    assert score_names(NoneOf(Some(Or((one, other, Present(Attribute("score.c"))))))) == {"a", "b"}


def _span(*attributes: dict[str, Any]) -> bytes:
    return delimited(b"\x2a", b"Name") + encode_attributes(b"\x4a", list(attributes))


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"stringValue": "Bottom"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    return {"key": "deep", "value": value}


def test_a_text_is_found_at_any_depth_of_a_payload_whatever_the_case() -> None:
    """Lost otherwise: what was said inside of messages, which are nested; or the server, to one nested without end."""
    spans = [
        _span(_deep(3)),
        _span(_deep(5_000)),
        _span({"key": "K", "value": {"stringValue": "ÄRGER"}}),
        b"\xff",
        None,
    ]
    payloads = SpanPayloads(pa.array(spans, pa.binary()), pa.nulls(5, pa.binary()))
    rows = np.arange(5)
    assert payloads.contains(rows, "bottom").tolist() == [True, True, False, False, False]
    assert payloads.contains(rows, "ärger").tolist() == [False, False, True, False, False]
    assert payloads.contains(rows, "name").tolist() == [True, True, True, False, False]
    assert payloads.contains(rows[:0], "x").tolist() == []


def test_an_attribute_reads_as_text_or_json() -> None:
    """Lost otherwise: comparisons of attributes that are too long, or nested, for light rows."""
    nested = {"arrayValue": {"values": [{"intValue": "1"}, {"boolValue": True}, {"stringValue": "é"}]}}
    pairs = [{"key": "text", "value": {"stringValue": "x" * 300}}, {"key": "list", "value": nested}]
    payloads = SpanPayloads(pa.array([_span(*pairs), _span(_deep(5_000))]), pa.nulls(2, pa.binary()))
    rows = np.arange(2)
    assert payloads.attribute(rows, Attribute("text")) == ["x" * 300, None]
    assert payloads.attribute(rows, Attribute("list")) == ['[1, true, "é"]', None]
    assert payloads.attribute(rows, Attribute("missing")) == [None, None]
    assert payloads.attribute(rows, Attribute("deep"))[0] is None


def test_a_walk_takes_a_deep_tree_as_it_takes_a_wide_one() -> None:
    """Lost otherwise: time that grows with depth, so that one trace can stop a server."""
    deep, wide = np.arange(-1, 199_999), np.where(np.arange(200_000) == 0, -1, 0)
    for parent in (deep, wide):
        enter, leave = walk(parent)
        assert (enter < leave).all()
        below = np.arange(1, len(parent))
        assert (enter[parent[below]] < enter[below]).all()
        assert (leave[below] < leave[parent[below]]).all()


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("2026-01-31T12:00+02:00", 1_769_853_600 * 10**9),
        ("1769853600000000000", 1_769_853_600 * 10**9),
        ("2026-02-30", None),
        ("2026-01-31T25:00", None),
        ("9999-12-31", None),
        ("99999999999999999999", None),
        ("tomorrow", None),
    ],
)
def test_a_moment_is_read_exactly(text: str, ns: int | None) -> None:
    """Lost otherwise: the bounds of what is asked, or nanoseconds to a double."""
    assert parse_time(text) == ns
    assert ns is None or parse_time(format_time(ns)) == ns
