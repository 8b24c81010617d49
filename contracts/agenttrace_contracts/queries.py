"""What every index must do that answers questions of the algebra."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from decimal import Decimal
from math import isclose
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from agenttrace_contracts.base import AdapterMachine, Contract, Make, opened, run_machine, supported
from agenttrace_contracts.index import Objects
from agenttrace_contracts.index_world import BASE_NS, FolderObjects, LocalFolderObjects, World, light_row
from agenttrace_contracts.query_figures import Key, aggregated
from agenttrace_contracts.query_model import order_value, searched, selected, span_place, traces_of
from agenttrace_contracts.query_strategies import (
    PROJECTS,
    aggregations,
    every_aggregation,
    every_search,
    every_selection,
    many_spans,
    searches,
    selections,
    spans,
)
from agenttrace_core.errors import InvalidInputError, UnsupportedError
from agenttrace_core.model.algebra import (
    Aggregation,
    Attribute,
    Column,
    Compare,
    Contains,
    Measure,
    Op,
    Present,
    Related,
    Relation,
    Selection,
    Some,
    Step,
    TraceSearch,
)
from agenttrace_core.ports.index import SpanIndex, SpanQueries, View
from agenttrace_core.query.language import parse_traces
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.schema.tables import LIGHT, LOCATION, TRACES
from agenttrace_core.schema.traces import ADDED

_MINUTE_NS = 60_000_000_000
_FAILED_THEN_FINE = "{agent:X} >> {tool:* status:error} -> {tool:* status:ok} same tool"


class SpanQueriesContract(Contract[SpanIndex]):
    """Subclass it, and supply the fixture ``make``, which makes an index that is neither attached nor open."""

    @pytest.fixture(params=[FolderObjects, LocalFolderObjects], ids=["remote", "local"])
    def objects(self, request: pytest.FixtureRequest) -> Objects:
        """The kinds of storage that an index is run over."""
        kind: Objects = request.param
        return kind

    @pytest.fixture
    def world(self, objects: Objects, tmp_path: Path) -> World:
        """An empty world."""
        return World(objects(tmp_path / "objects"))

    @pytest.fixture
    async def adapter(self, make: Make[SpanIndex], world: World) -> AsyncIterator[SpanIndex]:
        """An open index over the world's storage."""
        index = make("main")
        index.attach(world.storage)
        async with opened(index) as adapter:
            yield adapter

    async def test_an_index_answers_questions_if_it_says_so(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: a server that starts, and fails at the first search."""
        with supported(adapter.capabilities.queries):
            view = world.view()
            queries = queries_of(adapter)
            traces = await queries.search(view, "default", TraceSearch())
            rows = await queries.spans(view, "default", Selection(), limit=3)
            figures = await queries.aggregate(view, "default", Aggregation(Selection(), tuple(Measure)))
            assert (len(traces), len(rows), len(figures)) == (0, 0, 0)
            assert traces.schema.equals(TRACES)
            assert rows.schema.names == [*LIGHT.names, *LOCATION.names]

    async def test_a_tool_that_failed_and_then_succeeded_is_found(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: the question that only relations between spans can ask."""
        with supported(adapter.capabilities.queries):
            for trace, tool, second_ns in (("a", "calc", 2_000), ("b", "search", 2_000), ("c", "calc", 500)):
                root = light_row(trace_id=trace * 32, span_id="1" * 16, context_agent="X", agent="X", duration_ns=9_000)
                tools = [
                    light_row(
                        trace_id=trace * 32, span_id=str(number) * 16, parent_span_id="1" * 16, tool=name,
                        status=status, start_ns=BASE_NS + start_ns, duration_ns=1_000,
                    )
                    for number, name, status, start_ns in ((2, "calc", "error", 0), (3, tool, "ok", second_ns))
                ]  # fmt: skip
                world.arrive([root, *tools])
                await world.flush()
            found = await queries_of(adapter).search(
                world.view(), "default", TraceSearch(parse_traces(_FAILED_THEN_FINE))
            )
            assert _ids(found) == ["a" * 32]

    async def test_questions_see_rows_as_they_are_by_now(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: figures of agents, sessions and users whose spans came before those that name them."""
        with supported(adapter.capabilities.queries):
            late = "9".zfill(16)
            world.arrive([
                light_row(span_id="1" * 16, input_tokens=10),
                light_row(span_id="2" * 16, parent_span_id=late, context_ref=late, input_tokens=4),
                light_row(span_id="3" * 16, parent_span_id="1" * 16, session_id="s", context_session_id="s"),
            ])  # fmt: skip
            world.arrive([light_row(trace_id="b" * 32, span_id="4" * 16, input_tokens=1)])
            for step in range(3):
                if step == 0:
                    world.flip(world.spans[:1])
                    world.tell("default", world.spans[0].light["trace_id"], late, agent="a", user_id="u")
                queries, view = queries_of(adapter), world.view()
                for field, value, wanted in (("agent", "a", "2"), ("user_id", "u", "2"), ("session_id", "s", "321")):
                    chosen = Selection(Compare(Column(field), Op.EQ, value))
                    rows = await queries.spans(view, "default", chosen, limit=9)
                    assert sorted(rows["span_id"].to_pylist()) == sorted(n * 16 for n in wanted), (step, field)
                    found = await queries.search(view, "default", TraceSearch(Some(chosen.spans)))
                    assert len(found) == 1
                    asked = Aggregation(Selection(), (Measure.SPANS, Measure.INPUT_TOKENS), (Column(field),))
                    figures = {r["dim0"]: r for r in (await queries.aggregate(view, "default", asked)).to_pylist()}
                    assert (figures[value]["spans"], figures[value]["input_tokens"]) == (len(wanted), 4)
                await (world.flush() if step == 0 else world.compact())

    async def test_a_trace_is_searched_whole(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: traces of which one term holds for a span in a file, and another for one that is live."""
        with supported(adapter.capabilities.queries):
            world.arrive([light_row(span_id="1" * 16, tool="search", start_ns=BASE_NS - 90 * _MINUTE_NS)])
            await world.flush()
            world.arrive([light_row(span_id="2" * 16, status="error", parent_span_id="1" * 16)])
            queries, view = queries_of(adapter), world.view()
            for query, wanted in (
                ("tool:search status:error", 1), ("{tool:search status:error}", 0),
                ("{tool:search} > {status:error}", 1), ("tool:search -status:error", 0), ("-tool:calc", 1),
            ):  # fmt: skip
                assert len(await queries.search(view, "default", TraceSearch(parse_traces(query)))) == wanted, query

    async def test_nothing_of_another_project_is_seen(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: what one project must not see of another, with the same trace id in both."""
        with supported(adapter.capabilities.queries):
            world.arrive([light_row(project="default", tool="mine"), light_row(project="other", tool="theirs")])
            queries = queries_of(adapter)
            for _ in range(2):
                view = world.view()
                theirs = Compare(Column("tool"), Op.EQ, "theirs")
                assert len(await queries.search(view, "default", TraceSearch(Some(theirs)))) == 0
                assert len(await queries.spans(view, "default", Selection(theirs), limit=9)) == 0
                by_tool = Aggregation(Selection(), (Measure.SPANS, Measure.TRACES), (Column("tool"),))
                assert (await queries.aggregate(view, "default", by_tool)).to_pylist() == [
                    {"dim0": "mine", "other": False, "spans": 1, "traces": 1}
                ]
                await world.flush()

    async def test_hostile_text_is_only_text(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: the engine's own language, open to whoever can search."""
        with supported(adapter.capabilities.queries):
            hostile = ["'; DROP TABLE spans; --", '" OR 1=1', "%_\\", "$1 ? :a {x}", "a\nb", "\u202e", "*?[]"]
            world.arrive([light_row(tool=text, span_id=f"{i:016x}", tags=[text], attributes=[(text, text)])
                          for i, text in enumerate(hostile, 1)])  # fmt: skip
            await world.flush()
            for text in hostile:
                asked = (Compare(Column("tool"), Op.EQ, text), Compare(Column("tag"), Op.EQ, text),
                         Compare(Attribute(text), Op.EQ, text), Present(Attribute(text)), Contains(text))  # fmt: skip
                for predicate in asked:
                    rows = await queries_of(adapter).spans(world.view(), "default", Selection(predicate), limit=9)
                    assert rows["tool"].to_pylist() == [text], predicate

    async def test_what_cannot_be_asked_is_the_callers_mistake(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: a wrong question that is taken for a defect of the server."""
        with supported(adapter.capabilities.queries):
            world.arrive([light_row()])
            queries, view = queries_of(adapter), world.view()
            wrong = Compare(Column("name"), Op.REGEX, "(")
            with pytest.raises(InvalidInputError):
                await queries.search(view, "default", TraceSearch(Some(wrong)))
            with pytest.raises(InvalidInputError):
                await queries.spans(view, "default", Selection(wrong), limit=1)
            with pytest.raises(InvalidInputError):
                await queries.aggregate(view, "default", Aggregation(Selection(wrong), (Measure.SPANS,)))

    async def test_the_tree_may_have_any_shape(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: a server that hangs on spans that are each other's parents, or on a very deep trace."""
        with supported(adapter.capabilities.queries):
            deep = [
                light_row(trace_id="d" * 32, span_id=f"{i:016x}", parent_span_id=f"{i - 1:016x}" if i > 1 else None,
                          tool=f"t{i}")
                for i in range(1, 401)
            ]  # fmt: skip
            circle = [
                light_row(trace_id="c" * 32, span_id=f"{i:016x}", parent_span_id=f"{i % 3 + 1:016x}", tool="round")
                for i in (1, 2, 3)
            ]
            own = light_row(trace_id="e" * 32, span_id="1" * 16, parent_span_id="1" * 16, tool="own")
            world.arrive([*deep, *circle, own])
            queries, view = queries_of(adapter), world.view()
            for first, last, wanted in (
                ("t1", "t400", 1),
                ("t400", "t1", 0),
                ("round", "round", 1),
                ("own", "own", 0),
            ):
                path = Related(_tool(first), (Step(Relation.DESCENDANT, _tool(last)),))
                assert len(await queries.search(view, "default", TraceSearch(path))) == wanted, (first, last)

    @pytest.mark.parametrize("about", ["traces", "spans", "figures"])
    async def test_every_kind_of_question_is_answered_as_a_plain_model_does(
        self, adapter: SpanIndex, world: World, about: str
    ) -> None:
        """Lost otherwise: the meaning of one word of the language, or of one figure."""
        with supported(adapter.capabilities.queries):
            await fill(world)
            await check_every_kind(queries_of(adapter), world, about)

    def test_any_question_is_answered_as_a_plain_model_does(self, make: Make[SpanIndex], objects: Objects) -> None:
        """Lost otherwise: what was asked, in one of the many forms of a question that nobody tried by hand."""
        if not make("asked").capabilities.queries:
            return
        with tempfile.TemporaryDirectory() as folder:
            storages: dict[str, FolderObjects] = {}

            def attached(name: str) -> SpanIndex:
                storages.setdefault(name, objects(Path(folder) / name))
                index = make(name)
                index.attach(storages[name])
                return index

            run_machine(type("Machine", (QueryMachine,), {"storages": storages}), attached)


class QueryMachine(AdapterMachine[SpanIndex]):
    """Asks an index whatever can be asked, while spans arrive, are flushed and merged."""

    examples: ClassVar[int] = 30
    steps: ClassVar[int] = 20
    storages: ClassVar[dict[str, FolderObjects]]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.world = World(self.storages[self._name])

    @rule(arrived=st.lists(spans(), min_size=1, max_size=12))
    def arrive(self, arrived: list[dict[str, Any]]) -> None:
        """A batch is decoded."""
        self.world.arrive(arrived)

    @rule()
    def flush(self) -> None:
        """The writer flushes."""
        self.run(self.world.flush)

    @precondition(lambda self: self.world.spans)
    @rule()
    def compact(self) -> None:
        """The writer flushes, and everything is merged into one file."""
        self.run(self.world.flush)
        self.run(self.world.compact)

    @precondition(lambda self: self.world.spans)
    @rule(project=st.sampled_from(PROJECTS), search=searches())
    def search(self, project: str, search: TraceSearch) -> None:
        """Traces are searched for, page by page."""
        self.run(check_search, queries_of(self.adapter), self.world, self.world.view(), project, search)

    @precondition(lambda self: self.world.spans)
    @rule(project=st.sampled_from(PROJECTS), selection=selections(), limit=st.integers(1, 4))
    def select(self, project: str, selection: Selection, limit: int) -> None:
        """Spans are searched for, page by page."""
        self.run(check_spans, queries_of(self.adapter), self.world, self.world.view(), project, selection, limit)

    @precondition(lambda self: self.world.spans)
    @rule(project=st.sampled_from(PROJECTS), question=aggregations())
    def aggregate(self, project: str, question: Aggregation) -> None:
        """Figures are asked for."""
        self.run(check_figures, queries_of(self.adapter), self.world, self.world.view(), project, question)


def queries_of(index: SpanIndex) -> SpanQueries:
    """Return ``index`` as one that answers questions.

    Raises:
        UnsupportedError: it does not.
    """
    if not (index.capabilities.queries and isinstance(index, SpanQueries)):
        raise UnsupportedError("this index answers no questions")
    return index


async def fill(world: World) -> None:
    """Make two files and live rows, with spans in several versions."""
    for seed in range(3):
        world.arrive(many_spans(24, seed))
        if seed < 2:
            await world.flush()


async def check_every_kind(queries: SpanQueries, world: World, about: str) -> None:
    """Ask one question of every kind about traces, spans or figures."""
    view = world.view()
    if about == "traces":
        for search in every_search():
            await check_search(queries, world, view, "default", search)
    elif about == "spans":
        for selection in every_selection():
            await check_spans(queries, world, view, "default", selection, 50)
    else:
        for question in every_aggregation():
            await check_figures(queries, world, view, "default", question)


async def check_search(queries: SpanQueries, world: World, view: View, project: str, search: TraceSearch) -> None:
    """Assert that all pages of a search together are what the model finds, with the sums of each trace."""
    wanted = searched(world, project, replace(search, limit=1_000))
    sums = {trace.sums.trace_id: trace.sums for trace in traces_of(world, project)}
    found: list[str] = []
    while True:
        page = await queries.search(view, project, search)
        assert page.schema.equals(TRACES)
        found += _ids(page)
        for row, trace_id in zip(page.to_pylist(), _ids(page), strict=True):
            assert all(
                row[name] == getattr(sums[trace_id], name) for name in (*ADDED, "start_ns", "end_ns", "has_root")
            )
        if len(page) < search.limit or len(found) > len(wanted):
            break
        last = sums[found[-1]]
        search = replace(search, after=(order_value(last, search.order), last.start_ns, last.trace_id))
    assert found == wanted


async def check_spans(
    queries: SpanQueries, world: World, view: View, project: str, selection: Selection, limit: int
) -> None:
    """Assert that all pages of spans together are what the model selects."""
    wanted = [(span.source, span.row) for span in selected(world, project, selection)]
    found: list[tuple[str, int]] = []
    after: tuple[int, str, str] | None = None
    while True:
        page = (await queries.spans(view, project, selection, limit=limit, after=after)).to_pylist()
        found += [(row["source"], row["row"]) for row in page]
        if len(page) < limit or len(found) > len(wanted):
            break
        after = span_place(page[-1])
    assert found == wanted


async def check_figures(queries: SpanQueries, world: World, view: View, project: str, question: Aggregation) -> None:
    """Assert that every figure of every group is the model's: counts and money exactly, others to 15 digits."""
    answer = await queries.aggregate(view, project, question)
    rows = answer.to_pylist()
    wanted = aggregated(world, project, question)
    assert [_key_of(row, len(question.group_by)) for row in rows] == [key for key, _ in wanted]
    for row, (key, figures) in zip(rows, wanted, strict=True):
        for measure, figure in figures.items():
            assert _is_same(row[str(measure)], figure), (key, measure)


def _key_of(row: Mapping[str, Any], dimensions: int) -> Key:
    return row.get("bucket_ns"), tuple(row[f"dim{i}"] for i in range(dimensions)), row["other"]


def _is_same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return isinstance(found, float) and isclose(found, wanted, rel_tol=1e-12)
    if isinstance(found, Decimal):
        return found == Decimal(wanted)
    return type(found) is type(wanted) and bool(found == wanted)


def _ids(traces: Any) -> list[str]:
    return [trace_id_of(row["trace_hi"], row["trace_lo"]) for row in traces.to_pylist()]


def _tool(name: str) -> Compare:
    return Compare(Column("tool"), Op.EQ, name)
