"""Sessions and users by the ledger: against adding everything up, page by page."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_adapters.memory import MemoryIndex
from agenttrace_contracts.index_world import BASE_NS, LocalFolderObjects, World, light_row
from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Aggregation, Column, Interval, Measure, Ranking, Selection
from agenttrace_core.ports.index import View
from agenttrace_core.query.owners import OWNED
from agenttrace_core.query.ranking import check_ranking, place_value

_HOUR = 3_600_000_000_000
_spans = st.builds(
    light_row,
    # Some begin alike, as those of one second may; of the others it shows how they begin that they are in one place.
    trace_id=st.integers(1, 12).map(lambda n: f"{n % 3 or n:x}".ljust(16, "0") + f"{n:016x}"),
    span_id=st.integers(1, 5).map(lambda n: f"{n:016x}"),
    parent_span_id=st.none() | st.just("9".zfill(16)),
    start_ns=st.integers(0, 6).map(lambda n: BASE_NS + n * _HOUR // 2),
    status=st.sampled_from(["ok", "error"]),
    session_id=st.none() | st.sampled_from(["a", "b", "c", "d", "é"]),
    user_id=st.none() | st.sampled_from(["u", "v"]),
    input_tokens=st.none() | st.integers(0, 1 << 40),
    cost_usd=st.none() | st.decimals(0, 999, places=12),
    counted=st.sampled_from([None, False, True]),
)
# Its first hour holds its earliest session; its root, which names none, is in a later one, beside another session.
_TWO_SESSIONS = [
    light_row(trace_id="1".zfill(32), span_id=span_id, parent_span_id=parent, start_ns=start_ns, session_id=session)
    for span_id, parent, start_ns, session in (
        ("1".zfill(16), None, BASE_NS + 2 * _HOUR, None),
        ("2".zfill(16), "1".zfill(16), BASE_NS, "a"),
        ("3".zfill(16), "1".zfill(16), BASE_NS + 2 * _HOUR, "b"),
    )
]
_ASCENDING = Ranking(Selection(), (Column("session_id"),), OWNED, Measure.LAST_NS, descending=False, limit=1)
_rankings = st.builds(
    Ranking,
    selection=st.builds(
        Selection, during=st.sampled_from([Interval(), Interval(BASE_NS + _HOUR), Interval(None, BASE_NS + 2 * _HOUR)])
    ),
    group_by=st.just((Column("session_id"),)),
    measures=st.just(OWNED),
    order=st.sampled_from([Measure.LAST_NS, Measure.LAST_NS, Measure.COST_USD, Measure.SPANS, Measure.FIRST_NS]),
    descending=st.booleans(),
    limit=st.integers(1, 3),
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(_spans, min_size=1, max_size=10), min_size=1, max_size=3), st.booleans(), _rankings)
@example([_TWO_SESSIONS], False, _ASCENDING)
def test_every_page_is_that_of_a_plain_sum_and_all_together_are_the_whole(
    batches: list[list[dict[str, Any]]], merge: bool, ranking: Ranking
) -> None:
    """Lost otherwise: sessions between two pages, and sums that are not those of the spans."""

    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(LocalFolderObjects(Path(folder)))
            quick, plain = DuckDBIndex.from_url("duckdb:?threads=1"), MemoryIndex.from_url("memory:")
            for index in (quick, plain):
                index.attach(world.storage)
                await index.open()
            for batch in batches:
                world.arrive(batch)
                await world.flush()
            if merge:
                await world.compact()
            world.arrive(batches[0][:1])
            view = world.view()
            for column in ("session_id", "user_id"):
                await _check_pages(quick, plain, view, column, ranking)
            await _check_whole(quick, plain, view)
            await quick.aclose()

    asyncio.run(check())


async def _check_pages(quick: DuckDBIndex, plain: MemoryIndex, view: View, column: str, ranking: Ranking) -> None:
    while True:
        wanted = (await plain.owners(view, "default", column, ranking)).to_pylist()
        assert (await quick.owners(view, "default", column, ranking)).to_pylist() == wanted
        for row in wanted:
            own = await quick.owned(view, "default", column, row["dim0"])
            assert own.to_pylist() == (await plain.owned(view, "default", column, row["dim0"])).to_pylist()
        if len(wanted) < ranking.limit:
            return
        last = wanted[-1]
        ranking = replace(ranking, after=(place_value(last[ranking.order]), last["dim0"]))


async def _check_whole(quick: DuckDBIndex, plain: MemoryIndex, view: View) -> None:
    everybody = Ranking(Selection(), (Column("session_id"),), OWNED, Measure.LAST_NS, limit=100)
    owners = await quick.owners(view, "default", "session_id", everybody)
    ledger = await plain.traces(view, "default", limit=1000)
    nobody = ledger.filter(pc.is_null(ledger["session_id"]))
    told = (Measure.SPANS, Measure.ERRORS, Measure.INPUT_TOKENS, Measure.COST_USD)
    (whole,) = (await quick.aggregate(view, "default", Aggregation(Selection(), told))).to_pylist()
    for name in ("spans", "errors", "input_tokens"):
        assert sum(owners[name].to_pylist()) + sum(nobody[name].to_pylist()) == whole[name]
    costs = [place_value(cost) for cost in owners["cost_usd"].to_pylist()]
    assert sum(costs) + sum(nobody["cost_pico_usd"].to_pylist()) == place_value(whole["cost_usd"])


def test_what_cannot_be_sorted_by_is_refused() -> None:
    """Lost otherwise: a 500 for a mistyped parameter."""
    with pytest.raises(InvalidInputError, match="sort"):
        check_ranking(Ranking(Selection(), (Column("session_id"),), OWNED, Measure.P95_NS))
