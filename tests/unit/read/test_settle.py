"""Which version of a span counts, against the rule written out in plain Python."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_contracts.index_world import BASE_NS, light_row, rows_of
from agenttrace_core.model.span import Quality
from agenttrace_core.query.settle import needs_arrival, orphans, settle
from agenttrace_core.query.summary import summaries_of, summary_of
from agenttrace_core.query.sums import merge_sums
from agenttrace_core.schema.traces import trace_sums

_IDENTITY = ("span_id", "kind", "service", "start_ns")


def _version(arrival: int, values: dict[str, Any]) -> dict[str, Any]:
    quality = Quality.NO_END if values["duration_ns"] is None else 0
    return light_row(**values, quality=int(quality), partition=arrival % 2, offset=arrival, position=arrival)


_values = st.fixed_dictionaries(
    {
        "span_id": st.integers(1, 3).map(lambda n: f"{n:016x}"),
        "parent_span_id": st.none() | st.integers(1, 4).map(lambda n: f"{n:016x}"),
        "kind": st.sampled_from(["client", "server"]),
        "service": st.none() | st.sampled_from(["", "a"]),
        "start_ns": st.none() | st.integers(BASE_NS, BASE_NS + 2),
        "duration_ns": st.none() | st.integers(-2, 2),
        "received_ns": st.integers(BASE_NS, BASE_NS + 2),
        "status": st.sampled_from(["ok", "error"]),
        "session_id": st.none() | st.sampled_from(["s", "t"]),
        "input_tokens": st.none() | st.integers(0, 9),
    }
)
_versions = st.lists(_values, min_size=1, max_size=12).map(lambda all_: [_version(i, v) for i, v in enumerate(all_)])


@given(_versions, st.randoms())
def test_the_version_that_counts_is_that_of_the_rule_in_any_order_of_delivery(
    versions: list[dict[str, Any]], shuffled: Any
) -> None:
    """Lost otherwise: one answer to one question, whatever came first."""
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for version in versions:
        identity = tuple(version[name] for name in _IDENTITY)
        if identity not in best or _precedence(version) > _precedence(best[identity]):
            best[identity] = version
    expected = sorted(best.values(), key=_place)
    shuffled.shuffle(versions)
    settled = settle(rows_of(versions))
    assert [row["offset"] for row in settled.to_pylist()] == [row["offset"] for row in expected]


@given(_versions)
def test_the_summary_of_a_trace_is_what_the_list_says_of_it(versions: list[dict[str, Any]]) -> None:
    """Lost otherwise: a trace that says one thing in the list and another when it is opened."""
    settled = settle(rows_of(versions))
    (listed,) = summaries_of(merge_sums([trace_sums(settled)]))
    assert summary_of(settled) == listed


@given(_versions, st.data())
def test_whose_a_trace_is_does_not_depend_on_the_files_that_its_spans_came_in(
    versions: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Lost otherwise: sessions whose costs change when files are merged."""
    settled = settle(rows_of(versions))
    rows = settled.to_pylist()
    parts = [data.draw(st.integers(0, 2)) for _ in rows]
    pieces = [settled.filter(pa.array([part == n for part in parts])) for n in set(parts)]
    (merged,) = summaries_of(merge_sums([trace_sums(piece) for piece in pieces]))
    named = [row for row in rows if row["session_id"] is not None]
    first = min((_since(row) for row in named), default=None)
    allowed = {row["session_id"] for row in named if _since(row) == first} or {None}
    assert merged.session_id in allowed
    assert summary_of(settled).session_id in allowed


def _since(row: dict[str, Any]) -> tuple[bool, int]:
    """Return where a span stands among those that may say whose its trace is: roots first, then by start."""
    return row["parent_span_id"] is not None, row["received_ns"] if row["start_ns"] is None else row["start_ns"]


def test_arrival_is_needed_only_where_ids_repeat_or_a_start_is_missing() -> None:
    """Lost otherwise: the right winner, because what decides it was not read."""
    plain = [light_row(span_id="a" * 16), light_row(span_id="b" * 16)]
    assert not needs_arrival(rows_of(plain))
    assert needs_arrival(rows_of([*plain, light_row(span_id="a" * 16)]))
    assert needs_arrival(rows_of([light_row(start_ns=None)]))


def test_an_orphan_is_a_span_whose_parent_is_not_there() -> None:
    """Lost otherwise: roots shown as orphans, or orphans as roots."""
    rows = rows_of(
        [
            light_row(span_id="a" * 16),
            light_row(span_id="b" * 16, parent_span_id="a" * 16),
            light_row(span_id="c" * 16, parent_span_id="d" * 16),
        ]
    )
    assert orphans(rows).tolist() == [False, False, True]


def _precedence(version: dict[str, Any]) -> tuple[Any, ...]:
    duration = version["duration_ns"]
    arrival = version["received_ns"], version["partition"], version["offset"], version["position"]
    return duration is not None, duration or 0, *arrival


def _place(version: dict[str, Any]) -> tuple[Any, ...]:
    start = version["received_ns"] if version["start_ns"] is None else version["start_ns"]
    service = version["service"]
    return start, version["span_id"], version["kind"], service is not None, service or "", version["start_ns"] is None
