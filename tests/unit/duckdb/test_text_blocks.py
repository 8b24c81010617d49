"""Free text with what merges wrote down of it, and without: two ways to one answer."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_contracts.index_world import BASE_NS, LocalFolderObjects, World, light_row
from agenttrace_core.model.algebra import (
    Aggregation,
    And,
    Column,
    Compare,
    Contains,
    Measure,
    Not,
    Op,
    Or,
    Selection,
    Some,
    SpanPredicate,
    TraceSearch,
)

_IDS = [f"{n:016x}{n:016x}" for n in range(1, 7)]
_LETTERS = "kKiI\u212a\u0130\u017fsSaB \0%_*é"
_texts = st.text(_LETTERS, max_size=8) | st.sampled_from(["Refund", "a \u212aIS\u017f", "\u0130stanbul"])
_spans = st.builds(
    light_row,
    trace_id=st.sampled_from(_IDS),
    span_id=st.integers(1, 20).map(lambda n: f"{n:016x}"),
    start_ns=st.integers(0, 20).map(lambda n: BASE_NS + n * 600_000_000_000),
    name=_texts,
    input_preview=st.none() | _texts,
    output_preview=st.none() | _texts,
    status_message=st.none() | _texts,
    attributes=st.lists(st.tuples(st.sampled_from("ab"), st.none() | _texts), max_size=2, unique_by=lambda a: a[0]),
    more_attributes=st.booleans(),
)
_sought = st.builds(
    Contains,
    st.one_of(_texts, st.sampled_from(["refund", "REFUNDS", "KISS", "a kis\u017f", "istanbul", "bul"])).filter(bool),
    payload=st.booleans(),
)
_predicates: st.SearchStrategy[SpanPredicate] = st.recursive(
    _sought,
    lambda of: st.one_of(
        of.map(Not),
        st.lists(of, max_size=3).map(lambda p: And(tuple(p))),
        st.lists(of, max_size=3).map(lambda p: Or(tuple(p))),
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(_spans, min_size=1, max_size=8), min_size=1, max_size=3),
    st.lists(_predicates, min_size=1, max_size=4),
)
def test_no_answer_depends_on_what_is_skipped(
    batches: list[list[dict[str, Any]]], predicates: list[SpanPredicate]
) -> None:
    """Lost otherwise: spans that are found until their files are merged, and then no more."""

    async def check(with_grams: DuckDBIndex, without: DuckDBIndex, world: World) -> None:
        for number, batch in enumerate(batches):
            world.arrive(batch)
            if number < 2:
                await world.flush()
                await world.compact()
        view = world.view()
        for predicate in predicates:
            search = TraceSearch(Some(predicate), limit=10)
            found = [await index.search(view, "default", search) for index in (with_grams, without)]
            assert found[0].equals(found[1])
            rows = [
                await index.spans(view, "default", Selection(predicate), limit=50) for index in (with_grams, without)
            ]
            assert rows[0].equals(rows[1])
            counted = Aggregation(Selection(predicate), (Measure.SPANS, Measure.TRACES, Measure.ERRORS))
            figures = [await index.aggregate(view, "default", counted) for index in (with_grams, without)]
            assert figures[0].equals(figures[1])

    _run(check)


def test_files_that_cannot_hold_a_text_are_not_read() -> None:
    """Lost otherwise: the speed of every search for what is rare, without any test that fails."""

    async def check(with_grams: DuckDBIndex, without: DuckDBIndex, world: World) -> None:
        del without
        world.arrive([light_row(span_id=f"{n:016x}", input_preview=f"hay {n}") for n in range(20)])
        await world.flush()
        await world.compact()
        (file,) = world.view().snapshot.files
        assert isinstance(world.storage, LocalFolderObjects)
        world.storage.local_path(file.objects["light"].key).unlink()
        answer = await with_grams.search(world.view(), "default", TraceSearch(Some(Contains("needle"))))
        assert len(answer) == 0
        selection = Selection(And((Compare(Column("name"), Op.EQ, "chat"), Contains("needle"))))
        figures = await with_grams.aggregate(world.view(), "default", Aggregation(selection, (Measure.SPANS,)))
        assert len(figures) == 0

    _run(check)


def _run(check: Callable[[DuckDBIndex, DuckDBIndex, World], Awaitable[None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(LocalFolderObjects(Path(folder)))
            indexes = [DuckDBIndex.from_url(f"duckdb:?threads=1&grams={said}") for said in ("true", "false")]
            for index in indexes:
                index.attach(world.storage)
                await index.open()
            try:
                await check(indexes[0], indexes[1], world)
            finally:
                for index in indexes:
                    await index.aclose()

    asyncio.run(run())
