"""Predicates as text: the canonical query that means them. What ``query.language`` reads, written again."""

from __future__ import annotations

import re

from agenttrace_core.model.algebra import (
    EVERY_SPAN,
    EVERY_TRACE,
    AllOf,
    And,
    AnyOf,
    Attribute,
    Compare,
    Contains,
    Field,
    NoneOf,
    Not,
    Op,
    Or,
    Present,
    Related,
    Score,
    Some,
    SpanPredicate,
    Step,
    TraceCompare,
    TraceField,
    TracePredicate,
    Value,
)
from agenttrace_core.query.fields import ATTRIBUTE, RESOURCE, SCORE, TRACE_FIELDS, FieldType, info_of, name_of
from agenttrace_core.query.literals import format_value

_BARE = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)*")
_KEY = re.compile(r"\w[\w.-]*")
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})
_SPECIAL = re.compile(r"""[\s(){}"'\\]|^[/<>=!]""")

_ALTERNATIVES, _TOGETHER, _ALONE = range(3)
"""How tightly a piece is to hold together: as one of OR's, as one of AND's, or after a negation."""


def format_traces(traces: TracePredicate) -> str:
    """Return the text that ``parse_traces`` reads as ``traces``."""
    return "" if traces == EVERY_TRACE else _trace(traces, _ALTERNATIVES)


def format_spans(spans: SpanPredicate, traces: TracePredicate = EVERY_TRACE) -> str:
    """Return the text that ``parse_spans`` reads as the two."""
    if traces == EVERY_TRACE:
        return "" if spans == EVERY_SPAN else _span(spans, _ALTERNATIVES)
    of_traces = f"trace{{{format_traces(traces)}}}"
    return of_traces if spans == EVERY_SPAN else f"{_span(spans, _TOGETHER)} {of_traces}"


def format_field(field: Field | TraceField) -> str:
    """Return a field's name as a query has it, in quotes where it must be."""
    if isinstance(field, Attribute):
        return (RESOURCE if field.resource else ATTRIBUTE) + _key(field.key)
    if isinstance(field, Score):
        return SCORE + _key(field.name)
    return name_of(field)


def quoted(text: str) -> str:
    """Return a text in quotes."""
    return f'"{text.translate(_QUOTED)}"'


def format_text(text: str) -> str:
    """Return a text that is compared with, in quotes where it must be."""
    return text if _BARE.fullmatch(text) else quoted(text)


def _trace(traces: TracePredicate, hold: int) -> str:  # noqa: PLR0911 - a line for each form
    match traces:
        case Some(span=Compare() | Present() | Contains() as leaf):
            return _span(leaf, _ALONE)
        case Some(span=span):
            return _braces(span)
        case TraceCompare(field=field, op=op, value=value):
            return _compared(field, TRACE_FIELDS[field].type, op, value)
        case Related(first=first, steps=steps):
            return " ".join([_braces(first), *map(_step, steps)])
        case AllOf(of=parts):
            return _joined([_trace(part, _TOGETHER) for part in parts], " ", hold > _TOGETHER)
        case AnyOf(of=parts):
            return _joined([_trace(part, _TOGETHER) for part in parts], " OR ", hold > _ALTERNATIVES)
        case NoneOf(of=part):
            return f"-{_trace(part, _ALONE)}"


def _step(step: Step) -> str:
    same = f" same {', '.join(map(format_field, step.same))}" if step.same else ""
    return f"{step.relation.value} {_braces(step.span)}{same}"


def _braces(span: SpanPredicate) -> str:
    return "{}" if span == EVERY_SPAN else f"{{{_span(span, _ALTERNATIVES)}}}"


def _span(span: SpanPredicate, hold: int) -> str:  # noqa: PLR0911 - a line for each form
    match span:
        case Compare(field=field, op=op, value=value):
            info = info_of(field)
            return _compared(field, info.type if info else None, op, value)
        case Present(field=field):
            return f"has:{format_field(field)}"
        case Contains(text=text, payload=payload):
            return f"{'payload:' if payload else ''}{quoted(text)}"
        case And(of=()):
            return "{}"
        case And(of=parts):
            return _joined([_span(part, _TOGETHER) for part in parts], " ", hold > _TOGETHER)
        case Or(of=parts):
            return _joined([_span(part, _TOGETHER) for part in parts], " OR ", hold > _ALTERNATIVES)
        case Not(of=part):
            return f"-{_span(part, _ALONE)}"


def _joined(parts: list[str], by: str, bracketed: bool) -> str:
    text = by.join(parts)
    return f"({text})" if bracketed else text


def _compared(field: Field | TraceField, kind: FieldType | None, op: Op, value: Value) -> str:
    name = format_field(field)
    if op is Op.GLOB:
        return f"{name}:{_SPECIAL.sub(_escaped, str(value))}"
    if op is Op.REGEX:
        return f"{name}:/{_slashed(str(value))}/"
    between = ":" if op is Op.EQ else op.value
    if not isinstance(value, str):
        return f"{name}{between}{format_value(kind, value)}"
    return f"{name}{between}{format_text(value) if op is Op.EQ else quoted(value)}"


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found.group()}"


def _slashed(pattern: str) -> str:
    """Escape the slashes of a regular expression that are not escaped yet."""
    return re.sub(r"\\.|/", lambda found: "\\/" if found.group() == "/" else found.group(), pattern, flags=re.DOTALL)


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) else quoted(key)
