"""A writer's memory of trees: whatever order spans come in, readers see what whole traces say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_contracts.index_world import TRACE_ID, light_row, rows_of
from agenttrace_core.model.span import Quality
from agenttrace_core.query.amend import amended, flips_as_traces
from agenttrace_core.query.flips import flips_of
from agenttrace_core.query.settle import winners
from agenttrace_core.query.tree import TreeKeys
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, ROWS, TRACES
from agenttrace_core.schema.traces import negated, trace_sums
from agenttrace_core.schema.usage import Usage
from agenttrace_core.services.absorber import Absorber
from agenttrace_core.services.lineage import Lineage
from tests.unit.query import tree_oracle as oracle
from tests.unit.query.test_tree import spans


@dataclass
class Part:
    """What one batch, or a merge of several, left: rows, flips, and contexts."""

    rows: pa.Table
    flips: pa.Table
    contexts: pa.Table


class Written:
    """What the writer does with a lineage, and what merges do, in memory."""

    def __init__(self, slots: int) -> None:
        self._lineage = Lineage(slots)
        self._slots = slots
        self._parts: list[Part] = []
        self._superseded: dict[tuple[int, ...], pa.Table] = {}

    def now(self) -> pa.Table:
        """The rows that readers see."""
        rows = amended(self._all("rows"), self._all("flips"), self._all("contexts"))
        return rows.filter(pa.array([arrival not in self._superseded for arrival in _arrivals(rows)], pa.bool_()))

    def ledger(self) -> int:
        """The input tokens that lists of traces tell."""
        tables = [trace_sums(self._all("rows")), flips_as_traces(self._all("flips")), *self._superseded.values()]
        return sum(sum(table["input_tokens"].to_pylist()) for table in tables)

    def write(self, batch: pa.Table) -> None:
        keys = TreeKeys.of(batch)
        self._recall(batch.filter(pa.array(self._lineage.forgotten(keys))), forgotten=True)
        placed = self._lineage.place(batch, keys)
        self._parts.append(Part(placed.rows, FLIPS.empty_table(), placed.contexts))
        if placed.suspects.any():
            known = self._recall(batch.filter(pa.array(placed.suspects)), forgotten=False)
            self._parts[-1].flips = flips_of(known)

    def merge(self, some: set[int]) -> None:
        """Merge some parts into one, as compaction does."""
        chosen = [part for n, part in enumerate(self._parts) if n in some]
        if not chosen:
            return
        rows = pa.concat_tables([part.rows for part in chosen])
        gone = [arrival in self._superseded for arrival in _arrivals(rows)]
        back = [self._superseded.pop(arrival) for arrival in _arrivals(rows) if arrival in self._superseded]
        absorber = Absorber(
            pa.concat_tables([part.flips for part in chosen]),
            pa.concat_tables([part.contexts for part in chosen]),
            pa.concat_tables([TRACES.empty_table(), *back]),
        )
        absorber.remove(rows.filter(pa.array(gone, pa.bool_())))
        kept = absorber.absorb(rows.filter(pa.array([not g for g in gone], pa.bool_())))
        self._parts = [part for n, part in enumerate(self._parts) if n not in some]
        self._parts.append(Part(kept, absorber.flips(), absorber.contexts()))

    def left(self) -> tuple[int, int]:
        """How many flips and contexts there are."""
        return len(self._all("flips")), len(self._all("contexts"))

    def begin_anew(self) -> None:
        """Another process takes over, which knows only that traces exist."""
        self._lineage = Lineage(self._slots)
        self._lineage.seen(TreeKeys.of(self._all("rows")).trace)

    def _all(self, name: str) -> pa.Table:
        empty = {"rows": ROWS, "flips": FLIPS, "contexts": CONTEXTS}[name].empty_table()
        return pa.concat_tables([empty, *(getattr(part, name) for part in self._parts)])

    def _recall(self, some: pa.Table, *, forgotten: bool) -> pa.Table:
        rows = self.now()
        rows = rows.filter(pc.is_in(rows["trace_id"], value_set=pa.array(some["trace_id"].to_pylist(), pa.string())))
        wins = pa.array(winners(rows))
        kept, lost = rows.filter(wins), rows.filter(pc.invert(wins))
        for n, arrival in enumerate(_arrivals(lost)):
            self._superseded[arrival] = negated(trace_sums(lost.slice(n, 1)))
        if len(some):
            self._lineage.recall("default", set(some["trace_id"].to_pylist()), kept, lost, forgotten=forgotten)
        return kept


def _arrivals(rows: pa.Table) -> list[tuple[int, ...]]:
    return list(zip(*(rows[name].to_pylist() for name in ("partition", "offset", "position")), strict=True))


@st.composite
def arrivals(draw: Any) -> list[list[dict[str, Any]]]:
    """Batches of spans of one trace, each span once, some of them ended by a second version."""
    trace = draw(st.lists(spans, max_size=10, unique_by=lambda row: row["span_id"]))
    begun = [row | {"duration_ns": None, "quality": row["quality"] | 2, "input_tokens": None, "output_tokens": None}
             for row in trace if draw(st.booleans())]  # fmt: skip
    order = draw(st.permutations([*trace, *begun]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=4)))
    return [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@settings(deadline=None)
@given(arrivals(), st.data())
def test_any_order_of_arrival_says_what_the_whole_trace_says(batches: list[list[dict[str, Any]]], data: Any) -> None:
    """Lost otherwise: exact sums, and agents, sessions and users of spans whose parents come later."""
    written = Written(data.draw(st.sampled_from([4, 1 << 12])))
    fillers = data.draw(st.integers(0, 4))
    parts = st.sets(st.integers(0, 8), max_size=6)
    for number, batch in enumerate(batches):
        arrived = [row | {"offset": number, "partition": 0, "position": i} for i, row in enumerate(batch)]
        written.write(rows_of(arrived))
        written.merge(data.draw(parts))
        if data.draw(st.booleans()):
            written.begin_anew()
        for filler in range(fillers):
            written.write(rows_of([_light(1_000 * number + 8 * filler + i) for i in range(8)]))
    _check(written)
    for _ in range(2):
        written.merge(data.draw(parts))
        _check(written)
    written.merge(set(range(100)))
    _check(written)
    assert written.left()[0] == 0


def _check(written: Written) -> None:
    assert written.ledger() == Usage.of(written.now()).input_tokens.sum()
    rows = written.now()
    rows = rows.filter(pc.equal(rows["trace_id"], pa.scalar(TRACE_ID)))
    told = rows.to_pylist()
    assert rows["counted"].to_pylist() == oracle.counted(told, int(Quality.COUNTED_BELOW))
    if not oracle.has_circles(told):
        names = [rows[name].to_pylist() for name in ("context_agent", "context_session_id", "context_user_id")]
        assert list(zip(*names, strict=True)) == [context[:3] for context in oracle.context(told)]


def test_what_was_said_to_rows_is_forgotten_when_it_is_on_them() -> None:
    """Lost otherwise: room, and time of every reader, for contexts that nobody seeks any more."""
    written = Written(1 << 12)
    arrived = [
        light_row(span_id=f"{n + 1:016x}", parent_span_id=f"{n:016x}" if n else None, agent="a" if n == 0 else None,
                  partition=0, offset=9 - n, position=0)
        for n in range(9)
    ]  # fmt: skip
    for row in reversed(arrived):
        written.write(rows_of([row]))
    assert written.left() == (0, 8)
    assert set(written.now()["context_agent"].to_pylist()) == {"a"}
    written.merge(set(range(9)))
    assert written.left() == (0, 0)
    assert set(written.now()["context_agent"].to_pylist()) == {"a"}


def test_a_version_that_runs_and_comes_late_does_not_make_its_span_run_again() -> None:
    """Lost otherwise: the agent of a span, for which it was said to another that need not have been told."""
    written = Written(1 << 12)
    agent = light_row(span_id="1".zfill(16), agent="a")
    tool = light_row(span_id="2".zfill(16), parent_span_id="1".zfill(16))
    first, second = (light_row(span_id=f"{n:016x}", parent_span_id="2".zfill(16)) for n in (3, 4))
    begun = tool | {"duration_ns": None, "quality": int(Quality.NO_END)}
    for number, batch in enumerate(([first], [tool], [agent], [begun, second])):
        written.write(rows_of([row | {"partition": 0, "offset": number, "position": i} for i, row in enumerate(batch)]))
    written.merge({1, 2, 3})
    assert set(written.now()["context_agent"].to_pylist()) == {"a"}


def test_of_versions_in_one_batch_the_ended_one_counts_whichever_comes_first() -> None:
    """Lost otherwise: the agents of all spans below it, where only the ended version names them."""
    for order in (1, -1):
        written = Written(1 << 12)
        agent = light_row(span_id="1".zfill(16), agent="a")
        begun = agent | {"agent": None, "duration_ns": None, "quality": int(Quality.NO_END)}
        children = [light_row(span_id=f"{n:016x}", parent_span_id="1".zfill(16)) for n in (2, 3, 4)]
        for number, batch in enumerate(([children[0]], [agent, begun, children[1]][::order], [children[2]])):
            rows = [row | {"partition": 0, "offset": number, "position": i} for i, row in enumerate(batch)]
            written.write(rows_of(rows))
        assert written.now()["context_agent"].to_pylist() == ["a"] * 4


@pytest.mark.parametrize("slots", [16, 1 << 14])
def test_memory_is_bounded(slots: int) -> None:
    """Lost otherwise: the writer, after some days."""
    lineage = Lineage(slots, slots)
    for number in range(200):
        batch = rows_of([_light(number * 8 + i) for i in range(8)])
        lineage.forgotten(TreeKeys.of(batch))
        lineage.place(batch, TreeKeys.of(batch))
    assert lineage.nbytes <= 2 * slots * 32 + (1 << 18)


def _light(number: int) -> dict[str, Any]:
    arrival = {"partition": 1, "offset": number, "position": 0}
    return light_row(
        trace_id=f"{number // 8 + 7:032x}", span_id=f"{number + 1:016x}", session_id=f"s{number}", **arrival
    )
