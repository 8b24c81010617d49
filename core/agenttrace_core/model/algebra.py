"""What can be asked: predicates over spans and over traces, and what is to be summed of what they select.

The query language compiles to these values, adapters execute them, and no other form of a question
exists between the two: nothing that a caller wrote ever becomes a part of an engine's own language.

A *span predicate* is true of a span: ``Compare``, ``Present``, ``Contains``, and ``And``, ``Or``,
``Not`` of them. A *trace predicate* is true of a trace: ``Some`` (a span of it satisfies a span
predicate), ``TraceCompare`` (of its sums), ``Related`` (spans of it stand in a relation), and
``AllOf``, ``AnyOf``, ``NoneOf`` of those.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from agenttrace_core.model.trace import AsOf

# --- Fields ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A canonical field of spans, by its public name; see ``query.fields``."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """Any attribute of a span (or, with ``resource``, of what sent it), by its key."""

    key: str
    resource: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """An evaluation result of a span or its trace, by its name."""

    name: str


Field = Column | Attribute | Score
Value = str | int | Decimal | bool


class Op(StrEnum):
    """How a field's value is compared. ``GLOB``: ``*`` is any text, all else is itself; case counts."""

    EQ = "="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    GLOB = "glob"
    REGEX = "regex"
    """A regular expression (RE2's, which takes time in proportion to the text), anywhere in the value."""


# --- Span predicates -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compare:
    """The field has a value, and it compares so. A field without a value satisfies no comparison."""

    field: Field
    op: Op
    value: Value


@dataclass(frozen=True, slots=True)
class Present:
    """The field has a value."""

    field: Field


@dataclass(frozen=True, slots=True)
class Contains:
    """Free text: the span's name, previews, status message or short attributes hold it, whatever the case.

    ``payload``: so may anything else of the span, which is slower to find out.
    """

    text: str
    payload: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All of them; of none, true."""

    of: tuple[SpanPredicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them; of none, false."""

    of: tuple[SpanPredicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not that."""

    of: SpanPredicate


SpanPredicate = Compare | Present | Contains | And | Or | Not

EVERY_SPAN = And(())

# --- Trace predicates ------------------------------------------------------------------------


class TraceField(StrEnum):
    """What is compared of a trace as a whole."""

    DURATION_NS = "duration_ns"
    COST_USD = "cost_usd"
    STATUS = "status"
    """``error`` if a span of it has failed, else ``ok``."""
    STATE = "state"
    """``running``, ``complete`` or ``broken``."""
    SPANS = "spans"
    ERRORS = "errors"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    NAME = "name"
    SERVICE = "service"
    ID = "id"


@dataclass(frozen=True, slots=True)
class Some:
    """At least one span of the trace satisfies it."""

    span: SpanPredicate


@dataclass(frozen=True, slots=True)
class TraceCompare:
    """The trace itself compares so."""

    field: TraceField
    op: Op
    value: Value


class Relation(StrEnum):
    """How a span stands to one before it in a path."""

    CHILD = ">"
    DESCENDANT = ">>"
    SIBLING = "~"
    """Has the same parent, and is another span."""
    LATER = "->"
    """Of the same trace, and starts when or after the other has ended."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next span of a path: how it stands to the one before, what is true of it, and in which fields they agree."""

    relation: Relation
    span: SpanPredicate
    same: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Related:
    """Spans of the trace form a path: one that satisfies ``first``, then one for each of ``steps``."""

    first: SpanPredicate
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of them; of none, true."""

    of: tuple[TracePredicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of them; of none, false."""

    of: tuple[TracePredicate, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """Not that."""

    of: TracePredicate


TracePredicate = Some | TraceCompare | Related | AllOf | AnyOf | NoneOf

EVERY_TRACE = AllOf(())

# --- Questions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """``start_ns <= t < end_ns``, in nanoseconds since the epoch; None is without a bound."""

    start_ns: int | None = None
    end_ns: int | None = None


class TraceOrder(StrEnum):
    """What traces are sorted by. Ties go by start, then trace id, both descending."""

    START = "start_ns"
    DURATION = "duration_ns"
    COST = "cost_usd"
    TOKENS = "tokens"
    """Input and output together."""


@dataclass(frozen=True, slots=True)
class TraceSearch:
    """Traces that start within ``during`` and satisfy ``where``, in order.

    ``after`` is the place of the last trace of the page before: (value of ``order``, start, trace id).
    ``as_of`` is what the state of a trace is judged by; it is given wherever ``TraceField.STATE`` is compared.
    """

    where: TracePredicate = EVERY_TRACE
    during: Interval = Interval()
    order: TraceOrder = TraceOrder.START
    descending: bool = True
    limit: int = 50
    after: tuple[int, int, str] | None = None
    as_of: AsOf | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Spans that start within ``during`` and satisfy ``spans``, of traces that satisfy ``traces``.

    ``as_of`` is as in ``TraceSearch``.
    """

    spans: SpanPredicate = EVERY_SPAN
    traces: TracePredicate = EVERY_TRACE
    during: Interval = Interval()
    as_of: AsOf | None = None


class Measure(StrEnum):
    """What is told of a group of spans. Tokens and cost are those of the spans that count."""

    SPANS = "spans"
    TRACES = "traces"
    """Distinct traces, each in the bucket of its own start."""
    ERRORS = "errors"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CACHE_READ_TOKENS = "cache_read_tokens"
    CACHE_WRITE_TOKENS = "cache_write_tokens"
    REASONING_TOKENS = "reasoning_tokens"
    COST_USD = "cost_usd"
    GIVEN_COST_USD = "given_cost_usd"
    UNPRICED = "unpriced"
    """Spans that count, have tokens, and no cost."""
    COST_DIFFERENCE_USD = "cost_difference_usd"
    """The given cost less the computed one, over the spans that count and have both."""
    USERS = "users"
    """Distinct users, of the spans' contexts."""
    SESSIONS = "sessions"
    P50_NS = "p50_ns"
    P95_NS = "p95_ns"
    P99_NS = "p99_ns"
    """Exact percentiles of duration, interpolated linearly (type 7 of Hyndman and Fan, 1996)."""
    MEAN_NS = "mean_ns"
    TTFC_P50_NS = "ttfc_p50_ns"
    """Of the time to the first chunk."""
    TTFC_P95_NS = "ttfc_p95_ns"
    OUTPUT_TOKENS_PER_S = "output_tokens_per_s"
    """Output tokens over the duration of the spans that have some."""
    FIRST_NS = "first_ns"
    """The earliest start."""
    LAST_NS = "last_ns"
    """The latest start."""
    NEWEST = "newest"
    """Text: trace id, ``/`` and span id of the span that starts last, of several the one with the greatest ids."""


ADDITIVE = frozenset(
    {
        Measure.SPANS, Measure.ERRORS, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS, Measure.CACHE_READ_TOKENS,
        Measure.CACHE_WRITE_TOKENS, Measure.REASONING_TOKENS, Measure.COST_USD, Measure.GIVEN_COST_USD,
        Measure.UNPRICED, Measure.COST_DIFFERENCE_USD,
    }
)  # fmt: skip
"""Measures of a whole that are the sums of those of its parts."""

DISTINCT = frozenset({Measure.TRACES, Measure.USERS, Measure.SESSIONS})
"""Measures that count things of which several spans may be. Of no spans, these and the additive ones are 0."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Intervals of time: of ``ns`` nanoseconds, or calendar ``unit``s, both cut at midnight of ``timezone``.

    ``unit`` is one of hour, day, week (from Monday), month; exactly one of the two is given.
    """

    ns: int | None = None
    unit: str | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Groups of the selected spans, and what is told of each.

    Rows come by bucket, then by ``top_by`` descending, then by dimensions ascending (null last). With ``top``, only
    the so many greatest groups by ``top_by`` over all buckets have rows of their own; the rest is one group whose
    dimensions are null and whose column ``other`` is true. ``groups`` names the groups that have, instead of ``top``.
    """

    selection: Selection
    measures: tuple[Measure, ...]
    group_by: tuple[Field, ...] = ()
    bucket: Bucket | None = None
    top: int | None = None
    top_by: Measure = Measure.SPANS
    groups: tuple[tuple[str | None, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A page of the groups of the selected spans, in order of a measure, then by dimensions ascending (null last).

    ``named`` leaves out groups whose first dimension has no value. ``after`` is the place of the last group of the
    page before: the value of ``order``, then its dimensions.
    """

    selection: Selection
    group_by: tuple[Field, ...]
    measures: tuple[Measure, ...]
    order: Measure = Measure.SPANS
    descending: bool = True
    named: bool = True
    limit: int = 50
    after: tuple[int | str | None, ...] | None = None
