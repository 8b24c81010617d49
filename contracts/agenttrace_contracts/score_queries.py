"""What an index must do that answers questions about spans by their scores."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agenttrace_contracts.base import Contract, Make, opened, supported
from agenttrace_contracts.index_world import BASE_NS, FolderObjects, World, light_row
from agenttrace_contracts.logs import LogWorld, a_score
from agenttrace_contracts.queries import queries_of
from agenttrace_core.model.algebra import Aggregation, Interval, Measure, Score, Selection, TraceSearch
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.query.language import parse_spans, parse_traces
from agenttrace_core.schema.keys import trace_id_of

_TRACES = tuple(f"{n:032x}" for n in (1, 2, 3))
_SPANS = tuple(f"{n:016x}" for n in (1, 2))

# Query -> the spans, as (trace, span), that ``a world of four scores`` has for it.
_FOUND: dict[str, set[tuple[int, int]]] = {
    "score.helpful:*": {(1, 1), (1, 2), (2, 1)},
    "score.helpful<0.5": {(1, 2)},
    "score.helpful<=0.25": {(1, 2)},
    "score.helpful>0.5": {(1, 1), (2, 1)},
    "score.helpful=0.9": {(1, 1)},
    "-score.helpful<0.5": {(1, 1), (2, 1), (2, 2), (3, 1), (3, 2)},
    "score.tone:warm": {(3, 1), (3, 2)},
    "score.tone:w*": {(3, 1), (3, 2)},
    "score.tone:cold": set(),
    "score.unknown:*": set(),
    "score.helpful:true": {(2, 1)},
    "score.helpful:1": {(2, 1)},
    "score.helpful<0.5 name:two": {(1, 2)},
    "score.helpful<0.5 OR score.tone:warm": {(1, 2), (3, 1), (3, 2)},
}


@dataclass
class ScoredWorld:
    """Spans and scores over one storage."""

    spans: World
    logs: LogWorld

    def view(self) -> View:
        """Return what an index may see of both."""
        spans, logs = self.spans.view(), self.logs.view()
        snapshot = replace(
            spans.snapshot,
            version=1000 * spans.snapshot.version + logs.snapshot.version,
            files=(*spans.snapshot.files, *logs.snapshot.files),
        )
        return View(snapshot, replace(spans.live, chunks=(*spans.live.chunks, *logs.live.chunks)))

    async def flush(self) -> None:
        """Make files of what is live."""
        await self.spans.flush()
        await self.logs.flush()


class ScoreQueriesContract(Contract[SpanIndex]):
    """Subclass it, and supply the fixture ``make``, which makes an index that is neither attached nor open."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> ScoredWorld:
        """Three traces of two spans; four scores that count, and one that was replaced."""
        storage = FolderObjects(tmp_path / "objects")
        world = ScoredWorld(World(storage), LogWorld(storage))
        for trace in _TRACES:
            world.spans.arrive(
                [
                    light_row(trace_id=trace, span_id=_SPANS[0], name="one"),
                    light_row(trace_id=trace, span_id=_SPANS[1], parent_span_id=_SPANS[0], name="two"),
                ]
            )
        first, second, third = _TRACES
        world.logs.arrive([a_score(trace_id=first, score_value=0.1, score_source="j", time_ns=BASE_NS - 9)])
        world.logs.arrive(
            [
                a_score(trace_id=first, score_value=0.9, score_source="j"),
                a_score(trace_id=first, span_id=_SPANS[1], score_value=0.25),
                a_score(trace_id=second, span_id=_SPANS[0], score_value=1.0),
                a_score(trace_id=third, score_name="tone", score_value=None, score_label="warm"),
                a_score(trace_id=second, project="other", score_value=0.0),
                a_score(trace_id=second, response_id="r", score_value=0.0),
                a_score(trace_id=None, session_id="s", score_value=0.0),
            ]
        )
        return world

    @pytest.fixture
    async def adapter(self, make: Make[SpanIndex], world: ScoredWorld) -> AsyncIterator[SpanIndex]:
        """An open index over the world's storage."""
        index = make("main")
        index.attach(world.spans.storage)
        async with opened(index) as adapter:
            yield adapter

    @pytest.mark.parametrize("query", _FOUND)
    async def test_spans_are_selected_by_scores(self, adapter: SpanIndex, world: ScoredWorld, query: str) -> None:
        """Lost otherwise: the calls that somebody judged badly, which are those that one looks for."""
        with supported(adapter.capabilities.queries):
            for _ in range(2):
                rows = await queries_of(adapter).spans(
                    world.view(), "default", Selection(spans=parse_spans(query)[0]), limit=100
                )
                found = zip(rows["trace_id"].to_pylist(), rows["span_id"].to_pylist(), strict=True)
                assert {(int(trace, 16), int(span, 16)) for trace, span in found} == _FOUND[query]
                await world.flush()

    async def test_traces_are_found_by_scores(self, adapter: SpanIndex, world: ScoredWorld) -> None:
        """Lost otherwise: the same of whole traces."""
        with supported(adapter.capabilities.queries):
            for _ in range(2):
                for query, wanted in (
                    ("score.helpful<0.5", {1}), ("score.helpful>0.5", {1, 2}), ("score.tone:warm", {3}),
                    ("-score.helpful:*", {3}), ("{name:one score.helpful<0.5}", set()),
                    ("{name:two score.helpful<0.5}", {1}),
                ):  # fmt: skip
                    for during in (Interval(), Interval(BASE_NS - 10, BASE_NS + 10)):
                        search = TraceSearch(parse_traces(query), during=during)
                        rows = await queries_of(adapter).search(world.view(), "default", search)
                        ids = zip(rows["trace_hi"].to_pylist(), rows["trace_lo"].to_pylist(), strict=True)
                        assert {int(trace_id_of(*words), 16) for words in ids} == wanted, query
                await world.flush()

    async def test_spans_are_grouped_by_scores(self, adapter: SpanIndex, world: ScoredWorld) -> None:
        """Lost otherwise: what helpful and unhelpful calls cost. A span's own score goes before its trace's."""
        with supported(adapter.capabilities.queries):
            for _ in range(2):
                for name, wanted in (
                    ("helpful", {"0.9": 1, "0.25": 1, "1.0": 1, None: 3}), ("tone", {"warm": 2, None: 4}),
                ):  # fmt: skip
                    question = Aggregation(Selection(), (Measure.SPANS, Measure.TRACES), (Score(name),))
                    rows = await queries_of(adapter).aggregate(world.view(), "default", question)
                    assert dict(zip(rows["dim0"].to_pylist(), rows["spans"].to_pylist(), strict=True)) == wanted
                await world.flush()

    async def test_many_scores_of_many_spans_agree_with_a_plain_model(
        self, adapter: SpanIndex, world: ScoredWorld
    ) -> None:
        """Lost otherwise: scores, beyond the handful that anybody would look through."""
        chance = random.Random(5)  # noqa: S311 - a seeded generator is what makes a failure replay
        with supported(adapter.capabilities.queries):
            for batch in range(4):
                scores = [_some_score(chance, n) for n in range(200)]
                world.logs.arrive(scores)
                if batch % 2:
                    await world.flush()
                for limit in (0.2, 0.7):
                    query = f"score.helpful<{limit}"
                    rows = await queries_of(adapter).spans(
                        world.view(), "default", Selection(spans=parse_spans(query)[0]), limit=100
                    )
                    found = set(zip(rows["trace_id"].to_pylist(), rows["span_id"].to_pylist(), strict=True))
                    expected = {
                        (trace, span) for trace in _TRACES for span in _SPANS
                        if _below(limit, world.logs.counting("default"), trace, span)
                    }  # fmt: skip
                    assert found == expected


def _below(limit: float, newest_first: Sequence[Mapping[str, Any]], trace: str, span: str) -> bool:
    """Whether a span's own newest score is below a limit; where it has none, its trace's newest."""
    for wanted in (span, None):
        for score in newest_first:
            target = (score["score_name"], score["trace_id"], score["span_id"])
            if target == ("helpful", trace, wanted) and (wanted or score["response_id"] is None):
                return score["score_value"] is not None and score["score_value"] < limit
    return False


def _some_score(chance: random.Random, number: int) -> dict[str, Any]:
    return a_score(
        trace_id=chance.choice([*_TRACES, "9" * 32]),
        span_id=chance.choice([None, *_SPANS]),
        score_name=chance.choice(["helpful", "tone"]),
        score_source=f"judge {chance.randrange(6)}",
        score_value=chance.choice([None, chance.random()]),
        time_ns=BASE_NS + chance.randrange(50),
        score_id=chance.choice([None, f"id {number % 7}"]),
    )
