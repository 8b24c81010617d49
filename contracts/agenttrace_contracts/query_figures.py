"""Figures of groups in plain Python: what an index's ``aggregate`` is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from agenttrace_contracts.index_world import World
from agenttrace_contracts.query_model import Light, selected, start_of, traces_of, value_of, within
from agenttrace_core.model.algebra import Aggregation, Attribute, Bucket, Column, Field, Measure

Dims = tuple[str | None, ...]
Key = tuple[int | None, Dims, bool]
"""A group of an answer: its bucket, its dimensions, and whether it is the rest."""

_SECOND_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Group:
    spans: list[Light]
    traces: set[str]


def aggregated(world: World, project: str, question: Aggregation) -> list[tuple[Key, dict[Measure, Any]]]:
    """Return the rows of an answer in order: what each is of, and its figures."""
    starts = {trace.sums.trace_id: trace.sums.start_ns for trace in traces_of(world, project)}
    lights = [span.light for span in selected(world, project, question.selection)]
    groups = _grouped(lights, starts, question, _named(lights, starts, question))
    keys = sorted(groups, key=lambda key: _place(key, _figure(groups[key], question.top_by)))
    return [(key, {measure: _figure(groups[key], measure) for measure in question.measures}) for key in keys]


def _named(lights: Sequence[Light], starts: Mapping[str, int], question: Aggregation) -> set[Dims] | None:
    if question.groups is not None:
        return set(question.groups)
    if question.top is None:
        return None
    whole = Aggregation(question.selection, (question.top_by,), question.group_by, top_by=question.top_by)
    groups = _grouped(lights, starts, whole, None)
    order = sorted(groups, key=lambda key: _place(key, _figure(groups[key], question.top_by)))
    return {dims for _, dims, _ in order[: question.top]}


def _grouped(
    lights: Sequence[Light], starts: Mapping[str, int], question: Aggregation, named: set[Dims] | None
) -> dict[Key, _Group]:
    groups: dict[Key, _Group] = {}
    for light in lights:
        for own in product(*(_texts(light, field) for field in question.group_by)):
            other = named is not None and own not in named
            dims: Dims = (None,) * len(own) if other else own
            bucket = _floor(start_of(light), question.bucket)
            groups.setdefault((bucket, dims, other), _Group([], set())).spans.append(light)
            start = starts[light["trace_id"]]
            if Measure.TRACES in (*question.measures, question.top_by) and within(start, question.selection.during):
                place = _floor(start, question.bucket), dims, other
                groups.setdefault(place, _Group([], set())).traces.add(light["trace_id"])
    return groups


def _texts(light: Light, field: Field) -> list[str | None]:
    value = value_of(light, field)
    if isinstance(field, Attribute) and value is not None and len(value) > 256:
        return [None]  # what only a payload says is no group
    if isinstance(value, list):
        return list(dict.fromkeys(value)) or [None]
    return [str(value).lower() if isinstance(value, bool) else value]


def _floor(time_ns: int, bucket: Bucket | None) -> int | None:
    if bucket is None:
        return None
    local = (_EPOCH + timedelta(seconds=time_ns // _SECOND_NS)).astimezone(ZoneInfo(bucket.timezone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    start_ns = round(midnight.timestamp()) * _SECOND_NS
    if bucket.unit == "day":
        return start_ns
    length = bucket.ns or 3600 * _SECOND_NS
    return start_ns + (time_ns - start_ns) // length * length


def _place(key: Key, value: Any) -> tuple[Any, ...]:
    bucket, dims, other = key
    rank = Decimal("Infinity") if value is None else -Decimal(value)
    return bucket or 0, rank, [(text is None, (text or "").encode()) for text in dims], other


# --- Measures ---


def _figure(group: _Group, measure: Measure) -> Any:
    return _FIGURES[measure](group)


def _spans(group: _Group, *, counted: bool = True, needs: Sequence[str] = ()) -> list[Light]:
    return [
        span for span in group.spans
        if (span["counted"] or not counted) and all(span[name] is not None for name in needs)
    ]  # fmt: skip


def _sum(name: str) -> Callable[[_Group], Any]:
    return lambda group: sum(span[name] for span in _spans(group, needs=[name]))


def _values(group: _Group, name: str) -> list[int]:
    return sorted(max(span[name], 0) for span in _spans(group, counted=False, needs=[name]))


def _quantile(name: str, quantile: Fraction) -> Callable[[_Group], float | None]:
    def of(group: _Group) -> float | None:
        values = _values(group, name)
        if not values:
            return None
        # Type 7: the place among n values is (n - 1) q, and between two of them it is interpolated.
        place = (len(values) - 1) * quantile
        low = place.numerator // place.denominator
        high = min(low + 1, len(values) - 1)
        return float(values[low] + (place - low) * (values[high] - values[low]))

    return of


def _mean(group: _Group) -> float | None:
    values = _values(group, "duration_ns")
    return float(Fraction(sum(values), len(values))) if values else None


def _rate(group: _Group) -> float | None:
    spans = [
        s
        for s in _spans(group, needs=["output_tokens", "duration_ns"])
        if min(s["output_tokens"], s["duration_ns"]) > 0
    ]
    elapsed = sum(span["duration_ns"] for span in spans)
    return float(Fraction(sum(span["output_tokens"] for span in spans) * _SECOND_NS, elapsed)) if spans else None


def _distinct(name: str) -> Callable[[_Group], int]:
    return lambda group: len({value_of(span, Column(name)) for span in group.spans} - {None})


def _unpriced(group: _Group) -> int:
    spans = [s for s in _spans(group) if s["cost_usd"] is None]
    return sum(span["input_tokens"] is not None or span["output_tokens"] is not None for span in spans)


def _difference(group: _Group) -> Decimal:
    spans = _spans(group, needs=["cost_usd", "given_cost_usd"])
    return sum((span["given_cost_usd"] - span["cost_usd"] for span in spans), Decimal(0))


def _newest(group: _Group) -> str | None:
    if not group.spans:
        return None
    newest = max(group.spans, key=lambda span: (start_of(span), span["trace_id"], span["span_id"]))
    return f"{newest['trace_id']}/{newest['span_id']}"


_FIGURES: Mapping[Measure, Callable[[_Group], Any]] = {
    Measure.SPANS: lambda group: len(group.spans),
    Measure.TRACES: lambda group: len(group.traces),
    Measure.ERRORS: lambda group: [span["status"] for span in group.spans].count("error"),
    Measure.INPUT_TOKENS: _sum("input_tokens"),
    Measure.OUTPUT_TOKENS: _sum("output_tokens"),
    Measure.CACHE_READ_TOKENS: _sum("cache_read_tokens"),
    Measure.CACHE_WRITE_TOKENS: _sum("cache_write_tokens"),
    Measure.REASONING_TOKENS: _sum("reasoning_tokens"),
    Measure.COST_USD: _sum("cost_usd"),
    Measure.GIVEN_COST_USD: _sum("given_cost_usd"),
    Measure.UNPRICED: _unpriced,
    Measure.COST_DIFFERENCE_USD: _difference,
    Measure.USERS: _distinct("user_id"),
    Measure.SESSIONS: _distinct("session_id"),
    Measure.P50_NS: _quantile("duration_ns", Fraction(1, 2)),
    Measure.P95_NS: _quantile("duration_ns", Fraction(19, 20)),
    Measure.P99_NS: _quantile("duration_ns", Fraction(99, 100)),
    Measure.MEAN_NS: _mean,
    Measure.TTFC_P50_NS: _quantile("time_to_first_chunk_ns", Fraction(1, 2)),
    Measure.TTFC_P95_NS: _quantile("time_to_first_chunk_ns", Fraction(19, 20)),
    Measure.OUTPUT_TOKENS_PER_S: _rate,
    Measure.FIRST_NS: lambda group: min(map(start_of, group.spans), default=None),
    Measure.LAST_NS: lambda group: max(map(start_of, group.spans), default=None),
    Measure.NEWEST: _newest,
}
