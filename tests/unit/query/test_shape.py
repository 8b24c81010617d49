"""The shape of one trace, its clocks, its critical path, and what explains its failure."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.query.critical import critical_path
from agenttrace_core.query.detail import detail_of
from agenttrace_core.query.settle import settle
from agenttrace_core.query.shape import TraceShape
from agenttrace_core.query.skew import clock_skew
from agenttrace_core.schema.tables import LIGHT

S = 10**9


def row(span: int, parent: int | None = None, start: int = 0, duration: int | None = 1, **more: Any) -> dict[str, Any]:
    """Return a light row; times are seconds."""
    return {
        "project": "p", "trace_id": "1" * 32, "span_id": f"{span:016x}", "name": f"s{span}", "kind": "internal",
        "parent_span_id": None if parent is None else f"{parent:016x}", "service": "a", "start_ns": (start + 1) * S,
        "duration_ns": None if duration is None else duration * S, "status": "unset", "quality": 0,
        "received_ns": 9 * S, "partition": 0, "offset": 0, "position": span, "more_attributes": False, **more,
    }  # fmt: skip


def table(*rows: dict[str, Any]) -> pa.Table:
    """Return rows as they are settled."""
    return settle(pa.Table.from_pylist(list(rows), LIGHT))


def drawn(rows: pa.Table) -> list[str]:
    """Draw a tree, a line a row."""
    shape = TraceShape.of(rows)
    names = rows["name"].to_pylist()
    return [f"{'.' * int(shape.depth[i])}{names[i]}" for i in shape.order.tolist()]


def skew_of(rows: pa.Table) -> list[int]:
    """Return the correction of each row in whole seconds, in order of start."""
    return [int(ns // S) for ns in clock_skew(rows, TraceShape.of(rows))]


def test_parents_come_before_children_and_siblings_by_start() -> None:
    """Lost otherwise: reading a trace from top to bottom."""
    rows = table(row(4, 2, 3), row(3, 1, 2), row(2, 1, 1), row(1, None, 0), row(5, 2, 2), row(9, None, 0))
    assert drawn(rows) == ["s1", ".s2", "..s5", "..s4", ".s3", "s9"]
    shape = TraceShape.of(rows)
    assert shape.children.tolist() == [2, 0, 2, 0, 0, 0]
    assert shape.descendants[0] == 4


def test_broken_trees_show_every_span_once() -> None:
    """Lost otherwise: spans, or the server's stack, where parents are missing or go round in circles."""
    assert drawn(table(row(2, 7, 1), row(3, 2, 2))) == ["s2", ".s3"]
    assert drawn(table(row(1, 2, 0), row(2, 3, 1), row(3, 1, 2), row(4, 3, 3))) == ["s1", ".s3", "..s2", "..s4"]
    assert drawn(table(row(1, 1, 0), row(2, 1, 1))) == ["s1", ".s2"]
    shape = TraceShape.of(table(row(2, 7, 1), row(1, 1, 0)))
    assert shape.orphan.tolist() == [False, True]


def test_the_two_sides_of_a_shared_span() -> None:
    """Lost otherwise: the server's half of every trace that came from Zipkin."""
    rows = table(
        row(1, None, 0, 9),
        row(2, 1, 1, 6, kind="client", service="a"),
        row(2, 1, 2, 4, kind="server", service="b", name="s2b"),
        row(3, 2, 3, 1, service="b"),
        row(4, 2, 3, 1, service="a"),
        row(5, 2, 3, 1, service="c"),
    )
    assert drawn(rows) == ["s1", ".s2", "..s2b", "...s3", "...s5", "..s4"]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 14), st.integers(0, 5)), min_size=1, max_size=40))
def test_any_parents_at_all_make_a_tree(spans: list[tuple[int, int, int]]) -> None:
    """Lost otherwise: the same, for what nobody has thought of."""
    rows = table(*[row(1 + own, 1 + parent, start, kind=("client", "server")[own % 2]) for own, parent, start in spans])
    shape = TraceShape.of(rows)
    assert sorted(shape.order.tolist()) == list(range(len(rows)))
    for i, above in enumerate(shape.parent.tolist()):
        assert shape.depth[i] == (0 if above < 0 else shape.depth[above] + 1)
        if above >= 0:
            assert 0 < shape.place[i] - shape.place[above] <= shape.descendants[above]
    assert shape.children.sum() == (shape.parent >= 0).sum()


@pytest.mark.parametrize("form", ["chain", "star", "random", "circle", "one id"])
def test_fifty_thousand_spans_of_any_form_take_a_moment(form: str) -> None:
    """Lost otherwise: the largest traces, which are what the tree is needed for."""
    count, pick = 50_000, random.Random(5)
    above = {
        "chain": lambda i: i,
        "star": lambda _: 1,
        "random": lambda i: pick.randint(1, i) if i else None,
        "circle": lambda i: i or count,
        "one id": lambda _: 1,
    }[form]
    spans = [row(1 if form == "one id" else 1 + i, above(i) or None, i, 1) for i in range(count)]
    rows = table(*spans)
    began = time.perf_counter()
    shape = TraceShape.of(rows)
    detail_of(rows, shape, clock_skew(rows, shape))
    assert time.perf_counter() - began < 1.0
    assert len(np.unique(shape.order)) == len(rows)


def test_a_server_that_is_before_its_client_is_moved_into_it() -> None:
    """Lost otherwise: trees in which effects come before their causes."""
    client, server = {"kind": "client"}, {"kind": "server", "service": "b"}
    rows = table(row(2, 1, 3, 4, **server), row(3, 2, 4, 1, service="b"), row(1, None, 10, 6, **client))
    assert skew_of(rows) == [8, 8, 0]
    assert detail_of(rows, TraceShape.of(rows), clock_skew(rows, TraceShape.of(rows))).clock_skew[0].service == "b"
    rows = table(row(1, None, 0, 6, **client), row(2, 1, 4, 4, **server))  # ends after its client
    assert skew_of(rows) == [0, -3]
    rows = table(row(1, None, 0, 6, **client), row(2, 1, 1, 4, **server))
    assert skew_of(rows) == [0, 0]
    rows = table(row(1, None, 0, 1), row(2, 1, 4, 4, service="b"))  # nobody waits for it
    assert skew_of(rows) == [0, 0]
    rows = table(row(2, 1, 3, 4), row(1, None, 10, 6))  # one clock, which may be wrong
    assert skew_of(rows) == [0, 0]


def test_a_correction_builds_on_those_above_it() -> None:
    """Lost otherwise: the third service of a chain, moved by the second's error."""
    rows = table(
        row(1, None, 100, 10, kind="client"), row(2, 1, 50, 10, kind="server", service="b"),
        row(3, 2, 51, 8, kind="client", service="b"), row(4, 3, 10, 8, kind="server", service="c"),
    )  # fmt: skip
    assert skew_of(rows) == [91, 50, 50, 0]


def path_of(rows: pa.Table) -> dict[str, float]:
    shape = TraceShape.of(rows)
    found, own = critical_path(rows, shape, clock_skew(rows, shape))
    return {rows["name"][i].as_py(): ns / S for i, ns in zip(found.tolist(), own.tolist(), strict=True)}


def test_the_critical_path_is_what_the_root_waited_for() -> None:
    """Lost otherwise: knowing what to make faster."""
    rows = table(row(1, None, 0, 10), row(2, 1, 1, 3), row(3, 1, 2, 6), row(4, 3, 3, 2), row(5, 1, 2, 1))
    assert path_of(rows) == {"s1": 3, "s2": 1, "s3": 4, "s4": 2}
    assert path_of(table(row(1, None, 0, None), row(2, 1, 1, 3))) == {}
    assert path_of(table(row(2, 7, 1, 3))) == {}
    assert path_of(table(row(1, None, 0, 4), row(2, 1, 2, 100))) == {"s1": 2, "s2": 2}  # outlives its parent


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 20), st.integers(0, 12)), max_size=20))
def test_the_critical_path_adds_up_to_the_root(spans: list[tuple[int, int, int]]) -> None:
    """Lost otherwise: times on the path that are more, or less, than the trace took."""
    rows = table(row(1, None, 5, 10), *[row(2 + i, 1 + above % (i + 1), s, d) for i, (above, s, d) in enumerate(spans)])
    path = path_of(rows)
    assert sum(path.values()) == 10
    assert min(path.values()) >= 0


def error_of(*rows: dict[str, Any]) -> tuple[str, bool] | None:
    made = table(*rows)
    shape = TraceShape.of(made)
    error = detail_of(made, shape, clock_skew(made, shape)).error
    return error and (error.name, error.reached_top)


def test_the_error_that_explains_a_failure() -> None:
    """Lost otherwise: the cause, behind everything that it made fail."""
    bad = {"status": "error"}
    assert error_of(row(1), row(2, 1)) is None
    # The deepest, not those that it bubbled up to.
    assert error_of(row(1, **bad), row(2, 1, 1, **bad), row(3, 2, 2, **bad), row(4, 2, 3)) == ("s3", True)
    # Of several the first, not the last.
    assert error_of(row(1, **bad), row(2, 1, 1, **bad), row(3, 1, 2, **bad)) == ("s2", True)
    # One that somebody recovered from does not explain a failure that came later.
    assert error_of(row(1, **bad), row(2, 1, 1), row(3, 2, 2, **bad), row(4, 1, 5, **bad)) == ("s4", True)
    # Nor does one that was tried again with success, wherever in the attempt it was.
    again = {"name": "ask"}
    tried = [row(2, 1, 1, **bad, **again), row(3, 2, 2, **bad), row(4, 1, 4, **again)]
    assert error_of(row(1, **bad), *tried, row(5, 1, 5, **bad)) == ("s5", True)
    assert error_of(row(1), *tried) == ("s3", False)
    # It is told all the same where nothing else has failed.
    assert error_of(row(1), row(2, 1, 1), row(3, 2, 2, **bad)) == ("s3", False)


def test_who_took_part() -> None:
    """Lost otherwise: a trace in one line."""
    rows = table(
        row(1, None, 0, 9, agent="planner", tags=["a", "b"], input_preview=None, session_id="x"),
        row(2, 1, 1, 2, model="gpt-4o", provider="openai", counted=True, cache_read_tokens=5, input_preview="ask",
            output_preview="one", tags=["b", "c"]),
        row(3, 1, 4, 2, model="gpt-4o", tool="search", counted=False, cache_read_tokens=7, output_preview="two",
            agent="b"),
        row(4, 77, 5, 2, session_id="y"),
    )  # fmt: skip
    shape = TraceShape.of(rows)
    detail = detail_of(rows, shape, clock_skew(rows, shape))
    assert (detail.agents, detail.models, detail.tools, detail.sessions) == (
        ("planner", "b"), ("gpt-4o",), ("search",), ("x", "y"),
    )  # fmt: skip
    assert (detail.tags, detail.cache_read_tokens) == (("a", "b", "c"), 5)
    assert (detail.input_preview, detail.output_preview) == ("ask", "two")
    assert [(m.span_id, m.children) for m in detail.missing_parents] == [(f"{77:016x}", 1)]
    assert (detail.roots, detail.depth) == (1, 2)
