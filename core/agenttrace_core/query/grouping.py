"""Figures of groups of spans, computed group by group: what every quick way of computing them must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Aggregation, Field, Interval, Measure, Score
from agenttrace_core.query.buckets import bucket_edges, floor_to
from agenttrace_core.query.evaluate import Scores
from agenttrace_core.query.settle import effective_start
from agenttrace_core.query.values import group_keys

MAX_GROUPS = 50_000
"""The most rows of an answer without ``top``."""

SUM_MONEY = pa.decimal128(38, 12)

_MONEY = frozenset({Measure.COST_USD, Measure.GIVEN_COST_USD, Measure.COST_DIFFERENCE_USD})
_REALS = frozenset(
    {
        Measure.P50_NS, Measure.P95_NS, Measure.P99_NS, Measure.MEAN_NS, Measure.TTFC_P50_NS, Measure.TTFC_P95_NS,
        Measure.OUTPUT_TOKENS_PER_S,
    }
)  # fmt: skip
_TOKENS = (
    Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS, Measure.CACHE_READ_TOKENS, Measure.CACHE_WRITE_TOKENS,
    Measure.REASONING_TOKENS,
)  # fmt: skip

MEASURED = (
    "trace_id", "span_id", "start_ns", "received_ns", "status", "duration_ns", "time_to_first_chunk_ns", "counted",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd",
    "given_cost_usd", "user_id", "session_id", "context_user_id", "context_session_id",
)  # fmt: skip
"""The columns of ``LIGHT`` that measures are of."""

_Dims = tuple[str | None, ...]
_Row = Mapping[str, Any]


@dataclass(slots=True)
class Group:
    """The spans of one group, and the traces whose start lies in its bucket."""

    spans: list[_Row] = field(default_factory=list[_Row])
    traces: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class _Key:
    bucket_ns: int | None
    dims: _Dims
    other: bool


def measure_type(measure: Measure) -> pa.DataType:
    """Return the type of a measure's column."""
    if measure is Measure.NEWEST:
        return pa.string()
    return SUM_MONEY if measure in _MONEY else pa.float64() if measure in _REALS else pa.int64()


def answer_schema(question: Aggregation) -> pa.Schema:
    """Return the columns of an answer."""
    names: list[tuple[str, pa.DataType]] = [("bucket_ns", pa.int64())] if question.bucket else []
    names += [(f"dim{i}", pa.string()) for i in range(len(question.group_by))]
    names.append(("other", pa.bool_()))
    return pa.schema([*names, *((str(measure), measure_type(measure)) for measure in question.measures)])


def aggregate_rows(
    rows: pa.Table, trace_starts: Mapping[str, int], question: Aggregation, scores: Scores | None = None
) -> pa.Table:
    """Return the answer to a question, of rows that its selection has already selected.

    Args:
        rows: light rows with ``MEASURED``, and what the dimensions are read from.
        trace_starts: by trace id, when each trace of the rows starts.
        question: what is to be told of them.
        scores: those that the dimensions name.

    Raises:
        InvalidInputError: the bucket or what to sort by is none, or there are too many groups without ``top``.
    """
    if question.top_by is Measure.NEWEST:
        raise InvalidInputError("top_by: groups cannot be ranked by newest")
    spans = _spans(rows, question.group_by, scores)
    named = _named(spans, trace_starts, question)
    groups = _grouped(spans, trace_starts, question, named)
    if named is None and len(groups) > MAX_GROUPS:
        raise InvalidInputError(f"the answer has more than {MAX_GROUPS:,} groups: ask for the top of them")
    ranks = {key: _rank(figure(group, question.top_by)) for key, group in groups.items()}
    keys = sorted(groups, key=lambda key: (key.bucket_ns or 0, -ranks[key], _dims_order(key.dims), key.other))
    return _table(question, keys, groups)


def figure(group: Group, measure: Measure) -> Any:
    """Return what a measure says of a group: an integer, a Decimal, a float, a text, or None."""
    return _FIGURES[measure](group)


# --- Groups ---


def _spans(rows: pa.Table, group_by: Sequence[Field], scores: Scores | None) -> list[dict[str, Any]]:
    """Return each row once for each group that it is in: of a list, it is in as many as the list has texts."""
    dims = [_keys(rows, by, scores) for by in group_by]
    starts = effective_start(rows).tolist()
    return [
        {**span, "start": starts[i], "dims": of}
        for i, span in enumerate(rows.select(MEASURED).to_pylist())
        for of in product(*(column[i] for column in dims))
    ]


def _keys(rows: pa.Table, by: Field, scores: Scores | None) -> list[list[str | None]]:
    if isinstance(by, Score) and scores is not None:
        return [[text] for text in scores.texts(rows, by.name).to_pylist()]
    return group_keys(rows, by)


def _named(spans: Sequence[_Row], trace_starts: Mapping[str, int], question: Aggregation) -> set[_Dims] | None:
    """Return the groups that have rows of their own; None if all do."""
    if question.groups is not None:
        return set(question.groups)
    if question.top is None:
        return None
    whole: dict[_Dims, Group] = {}
    for span in spans:
        group = whole.setdefault(span["dims"], Group())
        group.spans.append(span)
        if _starts_within(trace_starts[span["trace_id"]], question.selection.during):
            group.traces.add(span["trace_id"])
    order = sorted(whole, key=lambda dims: (-_rank(figure(whole[dims], question.top_by)), _dims_order(dims)))
    return set(order[: question.top])


def _grouped(
    spans: Sequence[_Row], trace_starts: Mapping[str, int], question: Aggregation, named: set[_Dims] | None
) -> dict[_Key, Group]:
    floor = _floor(spans, trace_starts, question)
    nothing: _Dims = (None,) * len(question.group_by)
    groups: dict[_Key, Group] = {}
    counts_traces = Measure.TRACES in {*question.measures, question.top_by}
    for span in spans:
        other = named is not None and span["dims"] not in named
        dims = nothing if other else span["dims"]
        groups.setdefault(_Key(floor(span["start"]), dims, other), Group()).spans.append(span)
        start = trace_starts[span["trace_id"]]
        if counts_traces and _starts_within(start, question.selection.during):
            groups.setdefault(_Key(floor(start), dims, other), Group()).traces.add(span["trace_id"])
    return groups


def _floor(
    spans: Sequence[_Row], trace_starts: Mapping[str, int], question: Aggregation
) -> Callable[[int], int | None]:
    """Return what maps a time to the start of its bucket."""
    if question.bucket is None or not spans:
        return lambda _: None
    during = question.selection.during
    times = [span["start"] for span in spans]
    times += [start for start in trace_starts.values() if _starts_within(start, during)]
    edges = bucket_edges(question.bucket, min(times), max(times))
    return lambda time_ns: int(floor_to(np.array([time_ns], np.int64), edges)[0])


def _starts_within(start_ns: int, during: Interval) -> bool:
    """A trace counts in the bucket of its start; one that starts elsewhere has none."""
    after = during.start_ns is None or start_ns >= during.start_ns
    return after and (during.end_ns is None or start_ns < during.end_ns)


def _dims_order(dims: _Dims) -> list[tuple[bool, bytes]]:
    return [(text is None, (text or "").encode()) for text in dims]


def _rank(value: Any) -> Any:
    return Decimal("-Infinity") if value is None else Decimal(value)


def _table(question: Aggregation, keys: Sequence[_Key], groups: Mapping[_Key, Group]) -> pa.Table:
    schema = answer_schema(question)
    columns: dict[str, list[Any]] = {"bucket_ns": [key.bucket_ns for key in keys], "other": [key.other for key in keys]}
    for i in range(len(question.group_by)):
        columns[f"dim{i}"] = [key.dims[i] for key in keys]
    for measure in question.measures:
        columns[str(measure)] = [figure(groups[key], measure) for key in keys]
    return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


# --- Measures ---


def _counted(group: Group) -> Iterable[_Row]:
    return (span for span in group.spans if span["counted"])


def _total(column: str) -> Callable[[Group], int]:
    return lambda group: sum(span[column] or 0 for span in _counted(group))


def _money(column: str) -> Callable[[Group], Decimal]:
    return lambda group: sum((span[column] or Decimal(0) for span in _counted(group)), Decimal(0))


def _difference(group: Group) -> Decimal:
    both = [s for s in _counted(group) if s["cost_usd"] is not None and s["given_cost_usd"] is not None]
    return sum((span["given_cost_usd"] - span["cost_usd"] for span in both), Decimal(0))


def _unpriced(group: Group) -> int:
    has_tokens = [s for s in _counted(group) if s["input_tokens"] is not None or s["output_tokens"] is not None]
    return sum(span["cost_usd"] is None for span in has_tokens)


def _distinct(column: str) -> Callable[[Group], int]:
    def count(group: Group) -> int:
        said = (span[f"context_{column}"] if span[f"context_{column}"] is not None else span[column]
                for span in group.spans)  # fmt: skip
        return len({value for value in said if value is not None})

    return count


def _lengths(group: Group, column: str) -> list[int]:
    """A span that ends before it starts took no time."""
    return [max(span[column], 0) for span in group.spans if span[column] is not None]


def _percentile(column: str, percent: float) -> Callable[[Group], float | None]:
    def of(group: Group) -> float | None:
        numbers = _lengths(group, column)
        # numpy's default method is "linear": type 7.
        return float(np.percentile(np.array(numbers, np.float64), percent)) if numbers else None

    return of


def _mean(group: Group) -> float | None:
    numbers = _lengths(group, "duration_ns")
    return sum(numbers) / len(numbers) if numbers else None


def _output_rate(group: Group) -> float | None:
    """Of the spans that count, have written something and taken some time."""
    spans = [s for s in _counted(group) if (s["output_tokens"] or 0) > 0 and (s["duration_ns"] or 0) > 0]
    elapsed_ns = sum(span["duration_ns"] for span in spans)
    return sum(span["output_tokens"] for span in spans) * 1e9 / elapsed_ns if spans else None


def _newest(group: Group) -> str | None:
    place = max(((s["start"], s["trace_id"], s["span_id"]) for s in group.spans), default=None)
    return place and f"{place[1]}/{place[2]}"


_FIGURES: Mapping[Measure, Callable[[Group], Any]] = {
    Measure.SPANS: lambda group: len(group.spans),
    Measure.TRACES: lambda group: len(group.traces),
    Measure.ERRORS: lambda group: sum(span["status"] == "error" for span in group.spans),
    **{measure: _total(measure.value) for measure in _TOKENS},
    Measure.COST_USD: _money("cost_usd"),
    Measure.GIVEN_COST_USD: _money("given_cost_usd"),
    Measure.UNPRICED: _unpriced,
    Measure.COST_DIFFERENCE_USD: _difference,
    Measure.USERS: _distinct("user_id"),
    Measure.SESSIONS: _distinct("session_id"),
    Measure.P50_NS: _percentile("duration_ns", 50),
    Measure.P95_NS: _percentile("duration_ns", 95),
    Measure.P99_NS: _percentile("duration_ns", 99),
    Measure.MEAN_NS: _mean,
    Measure.TTFC_P50_NS: _percentile("time_to_first_chunk_ns", 50),
    Measure.TTFC_P95_NS: _percentile("time_to_first_chunk_ns", 95),
    Measure.OUTPUT_TOKENS_PER_S: _output_rate,
    Measure.FIRST_NS: lambda group: min((span["start"] for span in group.spans), default=None),
    Measure.LAST_NS: lambda group: max((span["start"] for span in group.spans), default=None),
    Measure.NEWEST: _newest,
}
