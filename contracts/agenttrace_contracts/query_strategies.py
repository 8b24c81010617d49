"""Spans that differ in all that can be asked, and the questions about them, at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

from agenttrace_contracts.index_world import BASE_NS, TRACE_ID, light_row
from agenttrace_core.model.algebra import (
    EVERY_SPAN,
    EVERY_TRACE,
    Aggregation,
    AllOf,
    And,
    AnyOf,
    Attribute,
    Bucket,
    Column,
    Compare,
    Contains,
    Field,
    Interval,
    Measure,
    NoneOf,
    Not,
    Op,
    Or,
    Present,
    Related,
    Relation,
    Selection,
    Some,
    SpanPredicate,
    Step,
    TraceCompare,
    TraceField,
    TraceOrder,
    TracePredicate,
    TraceSearch,
)
from agenttrace_core.model.trace import AsOf
from agenttrace_core.query.fields import FIELDS

_T = TypeVar("_T")

MINUTE_NS = 60_000_000_000
PROJECTS = ("default", "other")
# Two of them share their first eight bytes, by which an index may look first.
TRACE_IDS = (TRACE_ID, f"{1:016x}{2:016x}", f"{2:016x}{1:016x}", f"{1 << 63:016x}{3:016x}")

_PARENTS = {1: None, 2: 1, 3: 2, 4: 2, 5: 4, 6: 9, 7: 9}
"""By span: a root, four below it, and two whose parent never comes."""
_NAMES = {1: "agent run", 2: "chat gpt-4o", 3: "tool: search", 4: "Chat ÉTÉ", 5: "tool: search", 6: "orphan", 7: "late"}
_PICO = Decimal("0.000000000001")
_AS_OF = AsOf(BASE_NS + 200 * MINUTE_NS, 90 * MINUTE_NS)


def _span_id(number: int) -> str:
    return f"{number:016x}"


@st.composite
def spans(draw: st.DrawFn) -> dict[str, Any]:
    """Return light columns of a version of one of a few spans."""
    return _span(lambda *values: draw(st.sampled_from(values)))


def many_spans(count: int, seed: int) -> list[dict[str, Any]]:
    """Return so many versions of a few spans, always the same ones for a seed."""
    chance = Random(seed)  # noqa: S311 - the same at every run is what is wanted
    return [_span(lambda *values: chance.choice(values)) for _ in range(count)]


def _span(one_of: Callable[..., Any]) -> dict[str, Any]:
    """Return a version of a span whose place in its trace, start and name are the span's own."""
    number = one_of(*_PARENTS)
    trace = one_of(*range(len(TRACE_IDS)))
    start = BASE_NS + (10 * number + 25 * trace) * MINUTE_NS
    duration = one_of(None, -5, 0, 3 * MINUTE_NS, 12 * MINUTE_NS + 1, 31 * MINUTE_NS)
    note = one_of("Refund now", "ünï CASE 100%_", None)
    parent = _PARENTS[number]
    return light_row(
        project=one_of(*PROJECTS), trace_id=TRACE_IDS[trace], span_id=_span_id(number),
        parent_span_id=None if parent is None else _span_id(parent), name=_NAMES[number],
        kind=("internal", "client")[number % 2], service=(None, "web", "worker")[number % 3],
        start_ns=None if number == 7 else start,
        received_ns=start if number == 7 else start + one_of(0, MINUTE_NS, 40 * MINUTE_NS),
        duration_ns=duration, quality=one_of(2, 256) if duration is None else one_of(0, 16),
        status=one_of("unset", "ok", "error"), status_message=one_of(None, "boom: Straße"),
        model=one_of(None, "gpt-4o", "gpt-4o-mini", "claude"), tool=one_of(None, "search", "Search", "calc"),
        agent=one_of(None, "planner"), context_agent=one_of(None, "planner", "coder"),
        session_id=one_of(None, "s1"), context_session_id=one_of("s1", "s2"),
        user_id=one_of(None, "u1"), context_user_id=one_of("u1", "u2"),
        input_tokens=one_of(None, 0, 5, 1 << 40), output_tokens=one_of(None, 0, 7),
        cache_read_tokens=one_of(None, 3), cache_write_tokens=one_of(None, 4), reasoning_tokens=one_of(None, 2),
        cost_usd=one_of(None, _PICO, Decimal("1.5"), Decimal("123456.789012345678")),
        given_cost_usd=one_of(None, Decimal("0.25"), 3 * _PICO),
        counted=one_of(None, False, True, True), time_to_first_chunk_ns=one_of(None, 1_000, 2_000_000),
        input_preview=one_of(None, "Please REFUND", "refund 100%"), output_preview=one_of(None, "naïve\nline"),
        environment=one_of(None, "production"), error_type=one_of(None, "ValueError"),
        scope=one_of(None, "openai"), operation=one_of(None, "chat"), provider=one_of(None, "openai"),
        version=one_of(None, "1.2"), prompt=one_of(None, "greet"), prompt_version=one_of(None, "2"),
        error_group=one_of(None, "no such <n>"),
        input_audio_tokens=one_of(None, 1), output_audio_tokens=one_of(None, 9),
        tags=one_of(None, [], ["a"], ["a", "B"]), more_attributes=note is None,
        attributes=[
            ("note", note), ("resource.host", one_of("h1", "h2")),
            *one_of((), (("retries", one_of("3", "3.0", "-1e2", "x", "12345678901234567890123")),)),
        ],
    )  # fmt: skip


# --- Predicates ---


def _one_of(values: Sequence[_T]) -> st.SearchStrategy[_T]:
    """Return a strategy that shows itself in few words, unlike ``sampled_from``, which shows all that it samples."""
    return st.integers(0, len(values) - 1).map(lambda i: values[i])


_ANY = (Op.EQ, Op.LT, Op.LE, Op.GT, Op.GE)


def _texts(name: str, *values: str) -> list[SpanPredicate]:
    return [Compare(Column(name), Op.EQ, value) for value in values]


def _numbers(field: Field, *values: int | Decimal) -> list[SpanPredicate]:
    return [Compare(field, op, value) for op in _ANY for value in values]


_RETRIES, _NOTE, _HOST = Attribute("retries"), Attribute("note"), Attribute("host", resource=True)

LEAVES: tuple[SpanPredicate, ...] = (
    *_texts("model", "gpt-4o", "claude", "gpt-4O", "' OR 1=1 --"), *_texts("tool", "search"),
    *_texts("status", "error", "ok"), *_texts("agent", "planner", "coder"), *_texts("session_id", "s1"),
    *_texts("user_id", "u2"), *_texts("kind", "client"), *_texts("service", "web"),
    *_texts("state", "running", "complete"), *_texts("quality", "running", "bad_utf8"), *_texts("tag", "a", "B", "b"),
    *_texts("environment", "production"), *_texts("span_id", _span_id(3)), *_texts("trace_id", TRACE_IDS[1]),
    *_texts("parent_span_id", _span_id(2)), *_texts("status_message", "boom: Straße"),
    Compare(Column("model"), Op.GLOB, "gpt-4o*"), Compare(Column("name"), Op.GLOB, "*ool: s*h"),
    Compare(Column("name"), Op.GLOB, "*"), Compare(Column("tag"), Op.GLOB, "*"),
    Compare(Column("model"), Op.GLOB, "gpt-?o"), Compare(Column("name"), Op.REGEX, "^(chat|tool)"),
    Compare(Column("name"), Op.REGEX, "(?i)été"), Compare(Column("output"), Op.REGEX, "e.l"),
    Compare(Column("input"), Op.REGEX, "[A-Z]{6}$"),
    *_numbers(Column("duration"), 0, 3 * MINUTE_NS, Decimal("-4.5")),
    *_numbers(Column("cost_usd"), _PICO, Decimal("1.5"), 1), *_numbers(Column("given_cost_usd"), Decimal("0.25")),
    *_numbers(Column("total_tokens"), 0, 12), *_numbers(Column("input_tokens"), 5, 10**30),
    *_numbers(Column("time_to_first_chunk"), 1_500), *_numbers(Column("start"), BASE_NS + 40 * MINUTE_NS),
    Compare(Column("counted"), Op.EQ, True), Compare(Column("counted"), Op.EQ, False),
    *_numbers(_RETRIES, 3, Decimal(-100), Decimal("3.5"), 12345678901234567890123, 12345678901234567890124),
    Compare(_RETRIES, Op.EQ, "3"), Compare(_RETRIES, Op.GT, "3"), Compare(_RETRIES, Op.GLOB, "3*"),
    Compare(_NOTE, Op.EQ, "Refund now"), Compare(_NOTE, Op.GLOB, "note of*Payload*"),
    Compare(_NOTE, Op.REGEX, "CASE|hidden"), Compare(_HOST, Op.EQ, "h1"), Compare(Attribute("host"), Op.EQ, "h1"),
    Compare(Attribute("missing"), Op.EQ, "x"),
    *(Present(Column(name)) for name in FIELDS),
    *_texts("scope", "openai"), *_texts("operation", "chat"), *_texts("provider", "openai"), *_texts("version", "1.2"),
    *_texts("prompt", "greet"), *_texts("prompt_version", "2"), *_texts("error_group", "no such <n>"),
    *_texts("error_type", "ValueError"), *_texts("name", "orphan"), *_numbers(Column("cache_read_tokens"), 3),
    *_numbers(Column("cache_write_tokens"), 3), *_numbers(Column("reasoning_tokens"), 3),
    *_numbers(Column("input_audio_tokens"), 3), *_numbers(Column("output_audio_tokens"), 3),
    *_numbers(Column("output_tokens"), 3),
    Present(_RETRIES), Present(_NOTE), Present(Attribute("missing")), Present(_HOST),
    Contains("refund"), Contains("ÜNÏ case"), Contains("100%"), Contains("STRASSE"), Contains("straße"),
    Contains("e\nl"), Contains("hidden"), Contains("h2"), Contains("HIDDEN", payload=True),
    Contains("note", payload=True), Contains("nowhere", payload=True), Contains("refund", payload=True),
)  # fmt: skip

span_predicates: st.SearchStrategy[SpanPredicate] = st.recursive(
    _one_of((EVERY_SPAN, *LEAVES)),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts)))
        | st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts)))
        | inner.map(Not)
    ),
    max_leaves=5,
)


def _trace_numbers(field: TraceField, *values: int | Decimal) -> list[TracePredicate]:
    return [TraceCompare(field, op, value) for op in _ANY for value in values]


_TRACE_LEAVES: tuple[TracePredicate, ...] = (
    EVERY_TRACE,
    *_trace_numbers(TraceField.DURATION_NS, 0, 40 * MINUTE_NS), *_trace_numbers(TraceField.COST_USD, 0, Decimal("1.5")),
    *_trace_numbers(TraceField.SPANS, 2), *_trace_numbers(TraceField.ERRORS, 0, Decimal("1.5")),
    *_trace_numbers(TraceField.INPUT_TOKENS, 5), *_trace_numbers(TraceField.OUTPUT_TOKENS, 7),
    TraceCompare(TraceField.STATUS, Op.EQ, "error"), TraceCompare(TraceField.STATUS, Op.EQ, "ok"),
    *(TraceCompare(TraceField.STATE, Op.EQ, state) for state in ("running", "complete", "broken")),
    TraceCompare(TraceField.NAME, Op.EQ, "agent run"), TraceCompare(TraceField.NAME, Op.GLOB, "*o*"),
    TraceCompare(TraceField.NAME, Op.REGEX, "^[ol]"), TraceCompare(TraceField.ID, Op.EQ, TRACE_IDS[1]),
)  # fmt: skip

_steps = st.builds(
    Step,
    st.sampled_from(list(Relation)),
    span_predicates,
    st.sampled_from([(), (), (Column("tool"),), (Column("model"), _RETRIES), (Column("agent"),)]),
)
_relations = st.builds(Related, span_predicates, st.lists(_steps, min_size=1, max_size=3).map(tuple))

trace_predicates: st.SearchStrategy[TracePredicate] = st.recursive(
    _one_of(_TRACE_LEAVES) | span_predicates.map(Some) | _relations,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: AllOf(tuple(parts)))
        | st.lists(inner, max_size=3).map(lambda parts: AnyOf(tuple(parts)))
        | inner.map(NoneOf)
    ),
    max_leaves=3,
)

# --- Questions ---

_ends = st.none() | st.integers(0, 15).map(lambda n: BASE_NS + n * 10 * MINUTE_NS)
intervals = st.builds(Interval, _ends, _ends)

_searches = st.builds(
    TraceSearch,
    where=trace_predicates,
    during=intervals,
    order=st.sampled_from(list(TraceOrder)),
    descending=st.booleans(),
    limit=st.integers(1, 3),
    as_of=st.just(_AS_OF),
)
_selections = st.builds(
    Selection,
    spans=span_predicates,
    traces=st.just(EVERY_TRACE) | trace_predicates,
    during=intervals,
    as_of=st.just(_AS_OF),
)

_DIMENSIONS: tuple[Field, ...] = (
    *(Column(name) for name in ("model", "status", "tool", "tag", "state", "agent", "session_id", "counted", "name")),
    _RETRIES, _HOST,
)  # fmt: skip
_BUCKETS = (
    None, None, Bucket(ns=30 * MINUTE_NS), Bucket(unit="hour", timezone="Asia/Kolkata"),
    Bucket(unit="day", timezone="Europe/Berlin"),
)  # fmt: skip

_aggregations = st.builds(
    Aggregation,
    selection=_selections,
    measures=st.lists(st.sampled_from(list(Measure)), min_size=1, max_size=5, unique=True).map(tuple),
    group_by=st.lists(st.sampled_from(_DIMENSIONS), max_size=2, unique=True).map(tuple),
    bucket=st.sampled_from(_BUCKETS),
    top=st.sampled_from([None, None, 1, 2]),
    top_by=st.sampled_from([m for m in Measure if m is not Measure.NEWEST]),
)


@st.composite
def searches(draw: st.DrawFn) -> TraceSearch:
    """Return a search for traces."""
    return draw(_searches)


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    """Return a search for spans."""
    return draw(_selections)


@st.composite
def aggregations(draw: st.DrawFn) -> Aggregation:
    """Return a question for figures."""
    return draw(_aggregations)


# --- Every kind of question, once ---

_TOOL, _MODEL = Column("tool"), Column("model")
_PATHS: tuple[TracePredicate, ...] = tuple(
    Related(first, (Step(relation, second, same),))
    for relation in Relation
    for first, second in (
        (EVERY_SPAN, EVERY_SPAN),
        (Compare(_TOOL, Op.EQ, "search"), Compare(Column("status"), Op.EQ, "error")),
        (Present(_MODEL), Present(_TOOL)),
        (Compare(Column("span_id"), Op.EQ, _span_id(1)), Compare(Column("span_id"), Op.EQ, _span_id(5))),
    )
    for same in ((), (_TOOL,), (_MODEL, _RETRIES))
)


def every_selection() -> Iterator[Selection]:
    """Return a selection for the opposite of every comparison, which tells of those that satisfy it as well."""
    yield Selection()
    for leaf in LEAVES:
        yield Selection(Not(leaf))
    yield Selection(Present(_TOOL), Some(Present(_MODEL)), Interval(BASE_NS + 30 * MINUTE_NS, BASE_NS + 70 * MINUTE_NS))


def every_search() -> Iterator[TraceSearch]:
    """Return a search for many pairs of comparisons, and for every relation, order and field of traces."""
    pairs = zip(LEAVES[::3], LEAVES[1::3], strict=False)
    both = [AllOf((Some(one), Some(other) if i % 2 else NoneOf(Some(other)))) for i, (one, other) in enumerate(pairs)]
    for where in (*_TRACE_LEAVES, *_PATHS, *both):
        yield TraceSearch(where, limit=50, as_of=_AS_OF)
    for order in TraceOrder:
        for descending in (True, False):
            yield TraceSearch(order=order, descending=descending, limit=2)
    yield TraceSearch(during=Interval(BASE_NS + 30 * MINUTE_NS, BASE_NS + 60 * MINUTE_NS))


def every_aggregation() -> Iterator[Aggregation]:
    """Return every measure by every dimension and bucket, and by what the greatest can be told."""
    everything = Selection(as_of=_AS_OF)
    for dimension in _DIMENSIONS:
        yield Aggregation(everything, tuple(Measure), (dimension,))
    for bucket in _BUCKETS:
        yield Aggregation(everything, tuple(Measure), (), bucket)
        yield Aggregation(
            everything, tuple(Measure), (_MODEL, Column("status")), bucket, top=2, top_by=Measure.COST_USD
        )
    for measure in Measure:
        if measure is not Measure.NEWEST:
            yield Aggregation(everything, (measure,), (_TOOL,), top=1, top_by=measure)
