"""What counts and who owns what, over whole traces: equal to plain loops, whatever senders say of parents."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_contracts.index_world import light_row, rows_of
from agenttrace_core.model.span import Quality
from agenttrace_core.query.context import contexts_of
from agenttrace_core.query.counting import counted_of
from agenttrace_core.query.tree import TreeKeys, span_id_of
from tests.unit.query import tree_oracle as oracle

_ids = st.integers(1, 9).map(lambda n: f"{n:016x}")
_names = st.none() | st.sampled_from(["x", "y", "z"])
_operations = [None, "chat", "embeddings", "invoke_agent", "execute_tool", "fetch_response"]


def _row(**values: Any) -> dict[str, Any]:
    return light_row(**values)


spans = st.builds(
    _row,
    span_id=_ids,
    parent_span_id=st.none() | _ids,
    operation=st.sampled_from(_operations),
    agent=_names,
    session_id=_names,
    user_id=_names,
    input_tokens=st.none() | st.integers(0, 9),
    output_tokens=st.none() | st.integers(0, 9),
    quality=st.sampled_from([0, 0, 0, int(Quality.COUNTED_BELOW)]),
)
traces = st.lists(spans, max_size=10)


@settings(deadline=None)
@given(st.lists(traces, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_columns_say_what_loops_say(of_traces: list[list[dict[str, Any]]], rng: Any) -> None:
    """Lost otherwise: sums that count tokens twice or not at all, and spans given to another's agent."""
    rows = [row | {"trace_id": f"{n:032x}"} for n, trace in enumerate(of_traces) for row in trace]
    expected = [
        item
        for trace in of_traces
        for item in zip(
            oracle.counted(trace, int(Quality.COUNTED_BELOW)), oracle.context(trace), strict=True
        )
    ]  # fmt: skip
    order = list(range(len(rows)))
    rng.shuffle(order)
    table = rows_of([rows[i] for i in order])
    found = contexts_of(table)
    columns = [column.to_pylist() for column in (*found.names, found.ref)]
    told = list(zip(counted_of(table).to_pylist(), zip(*columns, strict=True), strict=True))
    assert told == [expected[i] for i in order]


def test_a_chain_of_thousands_of_spans_takes_no_stack() -> None:
    """Lost otherwise: the writer, to whoever sends one deep trace."""
    depth = 20_000
    rows = [
        light_row(span_id=f"{n + 1:016x}", parent_span_id=f"{n:016x}" if n else None, operation="chat")
        for n in range(depth)
    ]
    rows[0] |= {"agent": "planner", "input_tokens": 1}
    rows[-1] |= {"input_tokens": 1}
    table = rows_of(rows)
    counted = counted_of(table)
    assert (counted[0].as_py(), counted[depth - 1].as_py(), counted.null_count) == (False, True, depth - 2)
    assert contexts_of(table).names[0].unique().to_pylist() == ["planner"]


def test_keys_of_one_process_lead_back_to_the_ids() -> None:
    """Lost otherwise: the place from which the context of a span is to be sought."""
    table = rows_of([light_row(span_id="00000000000000a1", parent_span_id="ffffffffffffff01")])
    keys = TreeKeys.of(table)
    assert span_id_of(keys.trace, keys.own).tolist() == [0xA1]
    assert span_id_of(keys.trace, keys.parent).tolist() == [0xFFFFFFFFFFFFFF01]


def test_nothing_makes_nothing() -> None:
    """Lost otherwise: a flush without spans."""
    table = rows_of([])
    assert counted_of(table).equals(pa.nulls(0, pa.bool_()))
    assert len(contexts_of(table).ref) == 0
