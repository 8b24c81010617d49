"""The answers to questions of the algebra in plain Python: what an index is compared with.

Spans are dictionaries of light columns, traces lists of them. Nothing here knows Arrow, numpy or the
evaluation of the core; slow and plain is the point.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agenttrace_contracts.index_world import (
    ExpectedTrace,
    SentSpan,
    World,
    expected_traces,
    hidden_value,
    payload_texts,
)
from agenttrace_core.model.algebra import (
    AllOf,
    And,
    AnyOf,
    Attribute,
    Compare,
    Contains,
    Field,
    Interval,
    NoneOf,
    Not,
    Op,
    Or,
    Present,
    Related,
    Relation,
    Score,
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
from agenttrace_core.model.span import UNENDED, Quality
from agenttrace_core.model.trace import AsOf

Light = Mapping[str, Any]

_OPERATORS: Mapping[Op, Callable[[Any, Any], bool]] = {
    Op.EQ: operator.eq, Op.LT: operator.lt, Op.LE: operator.le, Op.GT: operator.gt, Op.GE: operator.ge,
}  # fmt: skip
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SEARCHED = ("name", "status_message", "input_preview", "output_preview")
_RENAMED = {
    "duration": "duration_ns", "time_to_first_chunk": "time_to_first_chunk_ns",
    "input": "input_preview", "output": "output_preview",
}  # fmt: skip
_CONTEXT = ("agent", "session_id", "user_id")


# --- Spans ---


def value_of(light: Light, field: Field) -> Any:  # noqa: PLR0911 - a line for each kind of field
    """Return the value of a field of a span: None, a scalar, or a list of texts."""
    if isinstance(field, Attribute):
        return _attribute(light, field)
    if isinstance(field, Score):
        raise NotImplementedError
    name = field.name
    if name in _CONTEXT:
        return light[f"context_{name}"] if light[f"context_{name}"] is not None else light[name]
    if name == "total_tokens":
        parts = [light[n] for n in ("input_tokens", "output_tokens") if light[n] is not None]
        return sum(parts) if parts else None
    if name == "start":
        return light["received_ns"] if light["start_ns"] is None else light["start_ns"]
    if name == "state":
        return "running" if light["quality"] & int(UNENDED) else "complete"
    if name == "quality":
        return [str(flag.name).lower() for flag in Quality if light["quality"] & flag]
    if name == "tag":
        return light["tags"] or []
    return light[_RENAMED.get(name, name)]


def holds(light: Light, predicate: SpanPredicate) -> bool:  # noqa: PLR0911 - a line for each form
    """Say whether a span satisfies a predicate."""
    match predicate:
        case And(of=parts):
            return all(holds(light, part) for part in parts)
        case Or(of=parts):
            return any(holds(light, part) for part in parts)
        case Not(of=part):
            return not holds(light, part)
        case Contains(text=text, payload=payload):
            texts = [light[name] for name in _SEARCHED] + [value for _, value in light["attributes"] or ()]
            texts += payload_texts(light) if payload else []
            return any(lower(text) in lower(has) for has in texts if has is not None)
        case Present(field=Attribute() as field):
            return _map_key(field) in dict(light["attributes"] or ())
        case Present(field=field):
            return value_of(light, field) not in (None, [])
        case Compare(field=field, op=op, value=value):
            has = value_of(light, field)
            is_attribute = isinstance(field, Attribute)
            return any(_compares(one, op, value, is_attribute=is_attribute) for one in _as_list(has))


def lower(text: str) -> str:
    """Return a text in lower case, each character by itself."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _compares(has: Any, op: Op, value: Any, *, is_attribute: bool) -> bool:
    if op is Op.GLOB:
        return re.fullmatch(".*".join(map(re.escape, value.split("*"))), has, re.DOTALL) is not None
    if op is Op.REGEX:
        return re.search(value, has) is not None
    if is_attribute and not isinstance(value, str | bool):
        return _NUMBER.fullmatch(has) is not None and _OPERATORS[op](Decimal(has), value)
    if is_attribute and isinstance(value, bool):
        value = str(value).lower()
    if isinstance(has, str):
        return _OPERATORS[op](has.encode(), str(value).encode())
    return _OPERATORS[op](has, value)


def _attribute(light: Light, field: Attribute) -> str | None:
    key = _map_key(field)
    attributes = dict(light["attributes"] or ())
    if key not in attributes:
        return None
    value: str | None = attributes[key]
    return hidden_value(light, key) if value is None else value


def _map_key(field: Attribute) -> str:
    return f"resource.{field.key}" if field.resource else field.key


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


# --- Traces ---


@dataclass(frozen=True, slots=True)
class ModelTrace:
    """A trace: what a list says of it, and its spans."""

    sums: ExpectedTrace
    spans: Sequence[Light]


def traces_of(world: World, project: str) -> list[ModelTrace]:
    """Return a project's traces, newest first."""
    spans: dict[str, list[Light]] = {}
    for span in world.spans:
        if span.light["project"] == project:
            spans.setdefault(span.light["trace_id"], []).append(span.light)
    return [ModelTrace(sums, spans[sums.trace_id]) for sums in expected_traces(world, project)]


def trace_holds(trace: ModelTrace, predicate: TracePredicate, as_of: AsOf | None = None) -> bool:
    """Say whether a trace satisfies a predicate."""
    match predicate:
        case AllOf(of=parts):
            return all(trace_holds(trace, part, as_of) for part in parts)
        case AnyOf(of=parts):
            return any(trace_holds(trace, part, as_of) for part in parts)
        case NoneOf(of=part):
            return not trace_holds(trace, part, as_of)
        case Some(span=span):
            return any(holds(light, span) for light in trace.spans)
        case TraceCompare(field=field, op=op, value=value):
            has = _trace_value(trace.sums, field, as_of)
            return has is not None and _compares(has, op, value, is_attribute=False)
        case Related(first=first, steps=steps):
            return _path_from([light for light in trace.spans if holds(light, first)], steps, trace.spans)


def _trace_value(sums: ExpectedTrace, field: TraceField, as_of: AsOf | None) -> Any:
    if field is TraceField.STATE:
        assert as_of is not None
        if sums.running > 0:
            return "running"
        if sums.has_root:
            return "complete"
        return "broken" if as_of.now_ns - sums.received_ns > as_of.broken_after_ns else "running"
    values: dict[TraceField, Any] = {
        TraceField.DURATION_NS: sums.end_ns - sums.start_ns,
        TraceField.COST_USD: Decimal(sums.cost_pico_usd) / 10**12,
        TraceField.STATUS: "error" if sums.errors else "ok",
        TraceField.NAME: min(sums.names),
        TraceField.ID: sums.trace_id,
    }
    return values[field] if field in values else getattr(sums, field.value)


def _path_from(ends: Sequence[Light], steps: Sequence[Step], spans: Sequence[Light]) -> bool:
    """Say whether the rest of a path can be walked from one of some spans."""
    if not steps:
        return bool(ends)
    step, rest = steps[0], steps[1:]
    following = [
        span for span in spans
        if holds(span, step.span)
        and any(_related(step.relation, end, span, spans) and _agree(step.same, end, span) for end in ends)
    ]  # fmt: skip
    return _path_from(following, rest, spans)


def _agree(same: Iterable[Field], one: Light, other: Light) -> bool:
    return all(value_of(one, f) is not None and value_of(one, f) == value_of(other, f) for f in same)


def _related(relation: Relation, one: Light, other: Light, spans: Sequence[Light]) -> bool:
    """Say whether ``other`` stands so to ``one``. Ids are unique within the model's traces."""
    if relation is Relation.CHILD:
        return bool(other["parent_span_id"] == one["span_id"])
    if relation is Relation.SIBLING:
        return other is not one and other["parent_span_id"] is not None and (
            other["parent_span_id"] == one["parent_span_id"]
        )  # fmt: skip
    if relation is Relation.LATER:
        ends = one["duration_ns"] is not None
        return other is not one and ends and start_of(other) >= start_of(one) + one["duration_ns"]
    parents = {span["span_id"]: span["parent_span_id"] for span in spans}
    above = other["parent_span_id"]
    while above is not None and above != one["span_id"]:
        above = parents.get(above)
    return above is not None


def start_of(light: Light) -> int:
    """Return where a span stands in time."""
    return int(light["received_ns"] if light["start_ns"] is None else light["start_ns"])


# --- Questions ---


def within(time_ns: int, during: Interval) -> bool:
    """Say whether a moment lies in an interval."""
    return (during.start_ns is None or time_ns >= during.start_ns) and (
        during.end_ns is None or time_ns < during.end_ns
    )


def searched(world: World, project: str, search: TraceSearch) -> list[str]:
    """Return the ids of the traces that a search finds, in order, a page of them."""
    found = [
        trace.sums for trace in traces_of(world, project)
        if within(trace.sums.start_ns, search.during) and trace_holds(trace, search.where, search.as_of)
    ]  # fmt: skip
    found.sort(key=lambda trace: (trace.start_ns, trace.trace_id), reverse=True)
    found.sort(key=lambda trace: order_value(trace, search.order), reverse=search.descending)
    places = [(order_value(trace, search.order), trace.start_ns, trace.trace_id) for trace in found]
    if search.after is not None:
        value, *tie = search.after
        places = [
            place for place in places
            if (place[0] != value and (place[0] < value) == search.descending)
            or (place[0] == value and place[1:] < tuple(tie))
        ]  # fmt: skip
    return [trace_id for _, _, trace_id in places[: search.limit]]


def order_value(trace: ExpectedTrace, order: TraceOrder) -> int:
    """Return what a list of traces is sorted by."""
    return {
        TraceOrder.START: trace.start_ns,
        TraceOrder.DURATION: trace.end_ns - trace.start_ns,
        TraceOrder.COST: trace.cost_pico_usd,
        TraceOrder.TOKENS: trace.input_tokens + trace.output_tokens,
    }[order]


def selected(world: World, project: str, selection: Selection) -> list[SentSpan]:
    """Return the spans that are selected, newest first."""
    traces = {
        trace.sums.trace_id
        for trace in traces_of(world, project)
        if trace_holds(trace, selection.traces, selection.as_of)
    }
    found = [
        span for span in world.spans
        if span.light["project"] == project and span.light["trace_id"] in traces
        and within(start_of(span.light), selection.during) and holds(span.light, selection.spans)
    ]  # fmt: skip
    return sorted(found, key=lambda span: span_place(span.light), reverse=True)


def span_place(light: Light) -> tuple[int, str, str]:
    """Return where a span stands in a list."""
    return start_of(light), light["trace_id"], light["span_id"]
