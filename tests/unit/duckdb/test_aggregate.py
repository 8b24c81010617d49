"""Figures of groups, with roll-ups and without: two ways to one answer."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_contracts.index_world import BASE_NS, LocalFolderObjects, World, light_row
from agenttrace_contracts.queries import check_figures
from agenttrace_core.model.algebra import (
    Aggregation,
    And,
    Bucket,
    Column,
    Compare,
    Interval,
    Measure,
    Not,
    Op,
    Present,
    Selection,
)
from agenttrace_core.ports.index import View

_HOUR = 3_600_000_000_000
_MINUTE = _HOUR // 60
# Two of them share their first eight bytes, by which traces are looked for first.
_TRACES = [f"{hi:016x}{lo:016x}" for hi, lo in ((1, 1), (1, 2), (2, 1), (1 << 63, 3), (7, 7), (8, 8))]


class _PlainWorld(World):
    """The same world, whose files have no roll-ups."""

    def view(self) -> View:
        view = super().view()
        files = [
            replace(file, objects={name: stored for name, stored in file.objects.items() if name != "rollup"})
            for file in view.snapshot.files
        ]
        return View(replace(view.snapshot, files=tuple(files)), view.live)


def _span(**values: Any) -> dict[str, Any]:
    return light_row(**values, context_agent=values["agent"])


_spans = st.builds(
    _span,
    trace_id=st.sampled_from(_TRACES),
    span_id=st.integers(1, 40).map(lambda n: f"{n:016x}"),
    start_ns=st.none() | st.integers(0, 20).map(lambda n: BASE_NS + n * 13 * _MINUTE),
    duration_ns=st.none() | st.integers(-5, 10**12),
    status=st.sampled_from(["unset", "ok", "error"]),
    model=st.none() | st.sampled_from(["a", "b"]),
    agent=st.none() | st.sampled_from(["x", "y"]),
    # Of a span's ancestors: what it says itself may be its whole trace's, which the model does not know.
    context_user_id=st.none() | st.sampled_from(["u", "v"]),
    context_ref=st.none() | st.just("f" * 16),
    input_tokens=st.none() | st.integers(0, 1 << 62),
    output_tokens=st.none() | st.integers(0, 1000),
    cache_read_tokens=st.none() | st.integers(0, 1000),
    cost_usd=st.none() | st.decimals(0, 999_999, places=12),
    given_cost_usd=st.none() | st.decimals(0, 999_999, places=12),
    counted=st.sampled_from([None, False, True]),
    time_to_first_chunk_ns=st.none() | st.integers(0, 10**10),
)

_questions = st.builds(
    Aggregation,
    selection=st.builds(
        Selection,
        spans=st.sampled_from(
            [
                And(()),
                Compare(Column("model"), Op.EQ, "a"),
                Not(Present(Column("model"))),
                Compare(Column("agent"), Op.EQ, "x"),
                Compare(Column("duration"), Op.GT, 1000),
            ]
        ),
        during=st.sampled_from(
            [Interval(), Interval(BASE_NS, BASE_NS + 2 * _HOUR), Interval(BASE_NS + 20 * _MINUTE, BASE_NS + 3 * _HOUR)]
        ),
    ),
    measures=st.lists(st.sampled_from(Measure), min_size=1, max_size=8, unique=True).map(tuple),
    group_by=st.sampled_from([(), (Column("model"),), (Column("agent"),), (Column("model"), Column("status"))]),
    bucket=st.sampled_from([None, Bucket(ns=_HOUR), Bucket(unit="day", timezone="America/St_Johns")]),
    top=st.sampled_from([None, None, 1, 2]),
    top_by=st.sampled_from([Measure.SPANS, Measure.COST_USD, Measure.TRACES, Measure.P95_NS]),
)
_batches = st.lists(st.lists(_spans, min_size=1, max_size=12), min_size=1, max_size=3)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(_batches, st.lists(st.booleans(), min_size=3, max_size=3), st.lists(_questions, min_size=1, max_size=2))
def test_roll_ups_change_no_answer(
    batches: list[list[dict[str, Any]]], merged: list[bool], questions: list[Aggregation]
) -> None:
    """Lost otherwise: figures that change with compaction, or with the way in which they were found."""

    async def check(index: DuckDBIndex, world: World) -> None:
        for batch, merge in zip(batches, merged, strict=False):
            world.arrive(batch)
            if merge:
                await world.flush()
                await world.compact()
            for question in questions:
                await check_figures(index, world, world.view(), "default", question)

    for kind in (World, _PlainWorld):
        _run(check, kind)


def test_merged_files_have_roll_ups_that_are_asked_instead_of_rows() -> None:
    """Lost otherwise: the speed of every panel, without any test that fails."""

    async def check(index: DuckDBIndex, world: World) -> None:
        world.arrive([light_row(span_id=f"{n:016x}", model="a", duration_ns=n) for n in range(100)])
        await world.flush()
        await world.compact()
        (file,) = world.view().snapshot.files
        assert isinstance(world.storage, LocalFolderObjects)
        world.storage.local_path(file.objects["light"].key).unlink()
        question = Aggregation(Selection(), (Measure.SPANS, Measure.P50_NS, Measure.TRACES), (Column("model"),))
        answer = await index.aggregate(world.view(), "default", question)
        assert answer.to_pylist() == [{"dim0": "a", "other": False, "spans": 100, "p50_ns": 49.5, "traces": 1}]

    _run(check, World)


def _run(check: Callable[[DuckDBIndex, World], Awaitable[None]], kind: type[World]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = kind(LocalFolderObjects(Path(folder)))
            index = DuckDBIndex.from_url("duckdb:?threads=1")
            index.attach(world.storage)
            await index.open()
            try:
                await check(index, world)
            finally:
                await index.aclose()

    asyncio.run(run())
