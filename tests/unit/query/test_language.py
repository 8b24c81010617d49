"""The query language: what each form means, where each error points, and that no text can do worse than be refused.

If these failed, a search would look for something else than what was written, or a text that somebody
pastes would take the API down.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_core.errors import InvalidInputError, QueryError
from agenttrace_core.model.algebra import (
    EVERY_SPAN,
    EVERY_TRACE,
    AllOf,
    And,
    AnyOf,
    Attribute,
    Column,
    Compare,
    Contains,
    NoneOf,
    Not,
    Op,
    Or,
    Present,
    Related,
    Relation,
    Score,
    Some,
    Step,
    TraceCompare,
    TraceField,
)
from agenttrace_core.query.fields import FIELDS, NAMES, name_of, named_field
from agenttrace_core.query.language import MAX_NESTING, MAX_TERMS, parse_field, parse_spans, parse_traces
from agenttrace_core.query.scanner import MAX_BYTES
from agenttrace_core.query.unparse import format_field, format_spans, format_traces

_T = TypeVar("_T")


def _is(name: str, value: str | int | Decimal | bool, op: Op = Op.EQ) -> Compare:
    return Compare(Column(name), op, value)


_A, _B, _C = Contains("a"), Contains("b"), Contains("c")

TERMS = {
    "model:gpt-4o": _is("model", "gpt-4o"),
    "model=gpt-4o": _is("model", "gpt-4o"),
    "model:=gpt-4o": _is("model", "gpt-4o"),
    "model:gpt-4o*": _is("model", "gpt-4o*", Op.GLOB),
    'model:"gpt-4o*"': _is("model", "gpt-4o*"),
    r"model:gpt-4o\*": _is("model", "gpt-4o*"),
    r"model:gpt\ 4*": _is("model", "gpt 4*", Op.GLOB),
    "model:/^gpt-(4|5)/": _is("model", "^gpt-(4|5)", Op.REGEX),
    r"name:/a\/b\d/": _is("name", r"a/b\d", Op.REGEX),
    "model:/a b/": _is("model", "a b", Op.REGEX),
    "model!=x": And((Present(Column("model")), Not(_is("model", "x")))),
    "model:!=x": And((Present(Column("model")), Not(_is("model", "x")))),
    "model:(a OR b* OR 'c d')": Or((_is("model", "a"), _is("model", "b*", Op.GLOB), _is("model", "c d"))),
    "model:(a)": _is("model", "a"),
    "model!=(a OR b)": And((Present(Column("model")), Not(Or((_is("model", "a"), _is("model", "b")))))),
    "model:*": Present(Column("model")),
    "model!=*": Not(Present(Column("model"))),
    "has:model": Present(Column("model")),
    "has:attr.x": Present(Attribute("x")),
    "has:'a b'": Present(Attribute("a b")),
    "-has:model": Not(Present(Column("model"))),
    "session:s1": _is("session_id", "s1"),
    "user:u17": _is("user_id", "u17"),
    "duration>2s": _is("duration", 2_000_000_000, Op.GT),
    "duration:>2s": _is("duration", 2_000_000_000, Op.GT),
    "duration > 2s": _is("duration", 2_000_000_000, Op.GT),
    "duration<=150ms": _is("duration", 150_000_000, Op.LE),
    "duration:1m30s": _is("duration", 90_000_000_000),
    "duration>=1.5h": _is("duration", 5_400_000_000_000, Op.GE),
    "duration<0": _is("duration", 0, Op.LT),
    "duration:1s..2s": And((_is("duration", 10**9, Op.GE), _is("duration", 2 * 10**9, Op.LE))),
    "duration:1us..": _is("duration", 1000, Op.GE),
    "ttfc:..3µs": _is("time_to_first_chunk", 3000, Op.LE),
    "cost>$0.05": _is("cost_usd", Decimal("0.05"), Op.GT),
    "cost_usd:0.000000000001": _is("cost_usd", Decimal("0.000000000001")),
    "input_tokens:10k": _is("input_tokens", 10_000),
    "total_tokens>1.5M": _is("total_tokens", 1_500_000, Op.GT),
    "counted:true": _is("counted", True),
    "start>=2026-01-31": _is("start", 1769817600 * 10**9, Op.GE),
    "start<2026-01-31T12:00:00.5+02:00": _is("start", (1769817600 + 36000) * 10**9 + 5 * 10**8, Op.LT),
    "status:error": _is("status", "error"),
    "tag:prod": _is("tag", "prod"),
    "quality:running": _is("quality", "running"),
    "attr.retries:3": Compare(Attribute("retries"), Op.EQ, Decimal(3)),
    'attr.retries:"3"': Compare(Attribute("retries"), Op.EQ, "3"),
    "attr.retries>1e3": Compare(Attribute("retries"), Op.GT, Decimal(1000)),
    "attr.retries:1..5": And(
        (Compare(Attribute("retries"), Op.GE, Decimal(1)), Compare(Attribute("retries"), Op.LE, Decimal(5)))
    ),
    "attr.day>='2026-01-01'": Compare(Attribute("day"), Op.GE, "2026-01-01"),
    "http.route:orders": Compare(Attribute("http.route"), Op.EQ, "orders"),
    'http.route:"/orders"': Compare(Attribute("http.route"), Op.EQ, "/orders"),
    'attr."my key":x': Compare(Attribute("my key"), Op.EQ, "x"),
    '"my key":x': Compare(Attribute("my key"), Op.EQ, "x"),
    "attr.model:x": Compare(Attribute("model"), Op.EQ, "x"),
    "resource.host.name:h1": Compare(Attribute("host.name", resource=True), Op.EQ, "h1"),
    "score.helpful<0.5": Compare(Score("helpful"), Op.LT, Decimal("0.5")),
    'score."how good":fine': Compare(Score("how good"), Op.EQ, "fine"),
    "refund": Contains("refund"),
    '"a  b"': Contains("a  b"),
    r'"say \"hi\"\n"': Contains('say "hi"\n'),
    "don't": Contains("don't"),
    "wow!": Contains("wow!"),
    "naïve": Contains("naïve"),
    'payload:"a b"': Contains("a b", payload=True),
    "payload:ab": Contains("ab", payload=True),
}
"""Texts that mean one thing of one span."""


@pytest.mark.parametrize("text", TERMS)
def test_a_term_means_the_same_of_a_span_and_of_some_span_of_a_trace(text: str) -> None:
    meant = TERMS[text]
    assert parse_spans(text) == (meant, EVERY_TRACE)
    assert parse_traces(f"{{{text}}}") == Some(meant)
    if not text.startswith("-"):
        assert parse_traces(text) == Some(meant)


SPANS = {
    "": (EVERY_SPAN, EVERY_TRACE),
    " \n\t ": (EVERY_SPAN, EVERY_TRACE),
    "a b": (And((_A, _B)), EVERY_TRACE),
    "a AND b": (And((_A, _B)), EVERY_TRACE),
    "a b OR c": (Or((And((_A, _B)), _C)), EVERY_TRACE),
    "a (b OR c)": (And((_A, Or((_B, _C)))), EVERY_TRACE),
    "-(a b)": (Not(And((_A, _B))), EVERY_TRACE),
    "NOT a": (Not(_A), EVERY_TRACE),
    "--a": (_A, EVERY_TRACE),
    "NOT -a": (_A, EVERY_TRACE),
    "{a b} c": (And((_A, _B, _C)), EVERY_TRACE),
    "{}": (EVERY_SPAN, EVERY_TRACE),
    '"OR"': (Contains("OR"), EVERY_TRACE),
    "or": (Contains("or"), EVERY_TRACE),
    "trace.cost>1": (EVERY_SPAN, TraceCompare(TraceField.COST_USD, Op.GT, Decimal(1))),
    "a trace{b c}": (_A, AllOf((Some(_B), Some(_C)))),
    "a -trace{b}": (_A, NoneOf(Some(_B))),
    "trace{a} OR trace.errors:0": (EVERY_SPAN, AnyOf((Some(_A), TraceCompare(TraceField.ERRORS, Op.EQ, 0)))),
    "trace{ {a} > {b} }": (EVERY_SPAN, Related(_A, (Step(Relation.CHILD, _B),))),
}


@pytest.mark.parametrize("text", SPANS)
def test_a_query_for_spans_says_what_it_asks_of_spans_and_what_of_traces(text: str) -> None:
    assert parse_spans(text) == SPANS[text]


TRACES = {
    "": EVERY_TRACE,
    "a b": AllOf((Some(_A), Some(_B))),
    "a OR b": AnyOf((Some(_A), Some(_B))),
    "-a": NoneOf(Some(_A)),
    "-{a b}": NoneOf(Some(And((_A, _B)))),
    "{-a}": Some(Not(_A)),
    "{a} b": AllOf((Some(_A), Some(_B))),
    "trace.status:error": TraceCompare(TraceField.STATUS, Op.EQ, "error"),
    "trace.state!=running": NoneOf(TraceCompare(TraceField.STATE, Op.EQ, "running")),
    "trace.duration:1s..2s": AllOf(
        (
            TraceCompare(TraceField.DURATION_NS, Op.GE, 10**9),
            TraceCompare(TraceField.DURATION_NS, Op.LE, 2 * 10**9),
        )
    ),
    "trace.name:(a OR b*)": AnyOf(
        (TraceCompare(TraceField.NAME, Op.EQ, "a"), TraceCompare(TraceField.NAME, Op.GLOB, "b*"))
    ),
    "trace{a}": Some(_A),
    "{a}>{b}": Related(_A, (Step(Relation.CHILD, _B),)),
    "{a} >> {b} ~ {c}": Related(_A, (Step(Relation.DESCENDANT, _B), Step(Relation.SIBLING, _C))),
    "{agent:X} >> {tool:* status:error} -> {status:ok} same tool, attr.k d": AllOf(
        (
            Related(
                _is("agent", "X"),
                (
                    Step(Relation.DESCENDANT, And((Present(Column("tool")), _is("status", "error")))),
                    Step(Relation.LATER, _is("status", "ok"), (Column("tool"), Attribute("k"))),
                ),
            ),
            Some(Contains("d")),
        )
    ),
}


@pytest.mark.parametrize("text", TRACES)
def test_a_query_for_traces_asks_each_term_of_some_span(text: str) -> None:
    assert parse_traces(text) == TRACES[text]


WRONG = {
    # text: (position, a part of the message)
    "modle:x": (0, "did you mean model?"),
    "status:eror": (7, "did you mean error?"),
    "status>ok": (6, "can be compared by : and != only"),
    "name<'b'": (4, "can be compared by : and != only"),
    "duration:2": (9, "with its unit"),
    "duration:0.5ns": (9, "with its unit"),
    "duration>999999d": (9, "with its unit"),
    "cost>1e3": (5, "dollars"),
    "cost>0.0000000000001": (5, "dollars"),
    "input_tokens:1.5": (13, "whole number"),
    "counted:yes": (8, "true or false"),
    "start>yesterday": (6, "2026-01-31"),
    "start>2026-02-30": (6, "2026-01-31"),
    "duration:/2/": (9, "is no text"),
    "status:/err/": (7, "is no text"),
    "name:/a(?=b)/": (5, "RE2 does not take"),
    r"name:/(a)\1/": (5, "RE2 does not take"),
    "name:/" + "a" * 1001 + "/": (5, "1,000 characters"),
    "name:/usr/bin": (5, "put a path into quotes"),
    "attr.x>abc": (7, "a number, or a text in quotes"),
    "attr.:x": (0, "there is no field 'attr.'"),
    '"":x': (0, "can't be empty"),
    "trace.durration>2s": (0, "did you mean trace.duration?"),
    "{trace.cost>1}": (1, "outside of the braces"),
    "{trace{a}}": (1, "outside of the braces"),
    "has:trace.cost": (4, "every trace has"),
    "{a {b}}": (3, "braces in braces"),
    "(a": (0, "is not closed"),
    "{a": (0, "is not closed"),
    "(a}": (2, ") is expected"),
    "a)": (1, "closes nothing"),
    "()": (1, "a term is expected"),
    '"a': (0, "not closed"),
    "a OR": (4, "a term is expected"),
    "OR a": (0, "a term is expected"),
    "AND": (0, "to find the word"),
    "a AND": (5, "a term is expected"),
    "- a": (1, "to be negated"),
    "-": (1, "to be negated"),
    "tool: x": (5, "a value is expected"),
    "tool :x": (5, "a field or a text"),
    "refund*": (0, "needs no *"),
    "payload:a*": (8, "needs no *"),
    r"name:a\**": (5, "regular expression"),
    "foo(bar)": (3, "quotes"),
    "name:a(b)": (6, "quotes"),
    "model:(a b)": (9, "OR"),
    "duration>(1s OR 2s)": (8, "by : or != only"),
    "{a} >> b": (7, "braces are expected"),
    "{a} > {b} same": (14, "a field is expected"),
    "{a} > {b} same trace.id": (15, "the same for all"),
    ">": (0, "a field or a text"),
    "a\0b": (1, "U+0000"),
    "a \ud800": (2, "half of a pair"),
    "'; DROP TABLE spans; --": (0, "not closed"),
    "1=1": (0, "there is no field '1'"),
}


@pytest.mark.parametrize("text", WRONG)
def test_an_error_says_what_is_wrong_and_where(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_traces(text)
    position, part = WRONG[text]
    assert part in caught.value.problem
    assert caught.value.position == position
    assert caught.value.kind == "invalid_query"
    assert isinstance(caught.value, InvalidInputError)


def test_the_caret_stands_below_the_place_and_the_known_fields_below_it() -> None:
    with pytest.raises(QueryError) as caught:
        parse_traces("日本 modle:x status:error")
    lines = str(caught.value).splitlines()
    assert lines[1:3] == ["  日本 modle:x status:error", "       ^^^^^"]
    assert lines[3].startswith("fields: name, status, model, ")


def test_a_long_query_is_shown_around_the_place() -> None:
    with pytest.raises(QueryError) as caught:
        parse_traces("a " * 90 + "modle:x" + " b" * 90)
    _, line, caret, *_ = str(caught.value).splitlines()
    assert len(line) < 140
    assert line[caret.index("^") :].startswith("modle:x")


@pytest.mark.parametrize("text", ["a OR trace.cost>1", "-(a trace.cost>1)", "{a} > {b}"])
def test_what_spans_and_traces_cannot_be_asked_together_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="trace"):
        parse_spans(text)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("a" * 100_000, f"{MAX_BYTES:,}"),
        ("ü" * 6_000, f"{MAX_BYTES:,}"),
        ("a " * 1000, str(MAX_TERMS)),
        ("{} > " * 250 + "{}", str(MAX_TERMS)),
        (f"model:({' OR '.join('a' * 201)})", str(MAX_TERMS)),
        ("{a} > {b} same " + ",".join(["tool"] * 300), str(MAX_TERMS)),
        ("(" * 500 + "a" + ")" * 500, str(MAX_NESTING)),
        ("-(" * 500 + "a" + ")" * 500, str(MAX_NESTING)),
        ("trace{" * 500 + "a" + "}" * 500, str(MAX_NESTING)),
        ("(" * 9000, str(MAX_NESTING)),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_the_bound(text: str, bound: str) -> None:
    for parse in (parse_traces, parse_spans):
        with pytest.raises(QueryError, match=bound):
            parse(text)


def test_what_is_within_bounds_is_taken() -> None:
    deep = "(" * MAX_NESTING + "a" + ")" * MAX_NESTING
    assert parse_traces(deep) == Some(_A)
    assert parse_traces("-" * 5001 + "a") == NoneOf(Some(_A))
    assert len(parse_spans("a " * MAX_TERMS)[0].of) == MAX_TERMS  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [*NAMES, "attr.x", "resource.x.y", "score.good"])
def test_every_name_names_its_field(name: str) -> None:
    field = named_field(name)
    assert field is not None
    assert named_field(name_of(field)) == field
    if not isinstance(field, TraceField):
        assert parse_field(name) == field == parse_field(format_field(field))


@pytest.mark.parametrize("text", ["", "modle", "trace.cost", "model:x", "model ", "attr."])
def test_what_names_no_field_of_spans_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse_field(text)


# --- Any text at all ---

_WRITTEN = r"""
attr.k resource.k score.s attr. trace. trace{ { } ( ) : > >= < = != - NOT OR AND same , >> ~ -> * a b* ' " \ / /a.*/
/(/ 1s 10k $0.5 error true 2026-01-01 1..2 .. has: payload: é model: tool: duration> {} {a} quality:running
"""
_PIECES = [*NAMES, *_WRITTEN.split()]

texts = st.text(max_size=60) | st.lists(st.sampled_from([*_PIECES, " ", " ", "\n"]), max_size=25).map("".join)


@settings(max_examples=600)
@given(texts)
def test_any_text_is_a_query_or_is_refused_and_a_query_is_the_same_when_written_again(text: str) -> None:
    traces = _or_refused(parse_traces, text)
    if traces is not None:
        assert parse_traces(format_traces(traces)) == traces
    spans = _or_refused(parse_spans, text)
    if spans is not None:
        assert parse_spans(format_spans(*spans)) == spans


def _or_refused(parse: Callable[[str], _T], text: str) -> _T | None:
    refusal: QueryError | None = None
    try:
        return parse(text)
    except QueryError as error:
        refusal = error
    assert 0 <= refusal.position <= len(text)
    assert "^" in str(refusal)
    return None


@given(st.text(min_size=1, max_size=30))
def test_any_text_can_be_asked_for_in_quotes(value: str) -> None:
    predicate = Compare(Attribute(value), Op.EQ, value)
    try:
        assert parse_spans(format_spans(predicate)) == (predicate, EVERY_TRACE)
    except QueryError:
        assert "\0" in value or any(0xD800 <= ord(c) < 0xE000 for c in value)


def test_the_canonical_text_is_one_that_people_would_write() -> None:
    query = "(model:gpt-4o* AND status=error) duration>2000ms user:u17 'refund' NOT {tool:x cost>$1.50}"
    assert format_traces(parse_traces(query)) == (
        'model:gpt-4o* status:error duration>2s user_id:u17 "refund" -{tool:x cost_usd>1.50}'
    )
    assert len(FIELDS) > 30
