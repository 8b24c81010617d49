"""What every span index must do."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from agenttrace_contracts.base import AdapterMachine, Contract, Make, opened, run_machine, supported
from agenttrace_contracts.index_arrivals import check_arrivals
from agenttrace_contracts.index_world import (
    BASE_NS,
    TRACE_ID,
    FolderObjects,
    LocalFolderObjects,
    SentSpan,
    World,
    expected_traces,
    light_row,
    payload_of,
)
from agenttrace_core.errors import UnsupportedError
from agenttrace_core.model.trace import TracePosition
from agenttrace_core.ports.index import Arrivals, Location, SpanIndex, SqlIndex, View
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.schema.tables import LIGHT, LOCATION, PAYLOAD, TRACES
from agenttrace_core.schema.traces import ADDED

Objects = Callable[[Path], FolderObjects]

_MINUTE_NS = 60_000_000_000
_PROJECTS = ("default", "other")
# Two of them share their first eight bytes, by which an index may look first.
_TRACE_IDS = (
    TRACE_ID,
    *(f"{hi:016x}{lo:016x}" for hi, lo in ((1, 2), (2, 1), (1 << 63, 3), ((1 << 64) - 1, 4))),
)


class IndexContract(Contract[SpanIndex]):
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

    async def test_an_empty_view_has_nothing_and_says_so_in_the_schema(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: the first answer of a new installation."""
        view = world.view()
        traces = await adapter.traces(view, "default", limit=10)
        versions = await adapter.versions(view, "default", [_TRACE_IDS[0]])
        payload = await adapter.payload(view, [])
        assert (len(traces), len(versions), len(payload)) == (0, 0, 0)
        assert traces.schema.equals(TRACES)
        assert versions.schema.equals(pa.schema([*LIGHT, *LOCATION]))
        assert payload.schema.equals(PAYLOAD)

    async def test_a_trace_is_found_live_in_a_file_and_across_both(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: half of a trace whose spans came before and after a flush."""
        world.arrive([light_row(span_id="a" * 16, input_tokens=3)])
        await check_all(adapter, world)
        await world.flush()
        await check_all(adapter, world)
        world.arrive([light_row(span_id="b" * 16, parent_span_id="a" * 16, input_tokens=4, status="error")])
        await check_all(adapter, world)
        (summary,) = (await adapter.summaries(world.view(), "default", [TRACE_ID])).to_pylist()
        assert (summary["spans"], summary["errors"], summary["input_tokens"]) == (2, 1, 7)

    async def test_only_the_columns_asked_are_returned_in_that_order(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: the time that the other columns cost, or an answer under the wrong names."""
        world.arrive([light_row(span_id="a" * 16)])
        await world.flush()
        world.arrive([light_row(span_id="b" * 16)])
        table = await adapter.versions(world.view(), "default", [TRACE_ID], columns=["name", "span_id"])
        assert table.schema.equals(pa.schema([LIGHT.field("name"), LIGHT.field("span_id"), *LOCATION]))
        assert sorted(table["span_id"].to_pylist()) == ["a" * 16, "b" * 16]

    async def test_what_was_superseded_is_neither_returned_nor_counted(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: exact sums. A span that is sent at its start and at its end would count twice."""
        begun = light_row(duration_ns=None, input_tokens=1)
        ended = light_row(duration_ns=5_000, input_tokens=9)
        world.arrive([begun])
        await world.flush()
        world.arrive([ended])
        await check_all(adapter, world)
        (summary,) = (await adapter.summaries(world.view(), "default", [TRACE_ID])).to_pylist()
        assert (summary["spans"], summary["input_tokens"], summary["end_ns"]) == (1, 9, BASE_NS + 5_000)
        await world.flush()
        await check_all(adapter, world)
        await world.compact()
        await check_all(adapter, world)

    async def test_a_trace_stands_where_its_earliest_span_is(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: the order of the list, once a long trace gets spans in a newer file than its first."""
        old, new = _TRACE_IDS[0], _TRACE_IDS[2]
        world.arrive([light_row(trace_id=old, start_ns=BASE_NS)])
        await world.flush()
        for hour in range(1, 4):
            later = BASE_NS + hour * 60 * _MINUTE_NS
            world.arrive([light_row(trace_id=old, span_id=f"{hour}".zfill(16), start_ns=later)])
            world.arrive([light_row(trace_id=new, span_id=f"{hour}".zfill(16), start_ns=later - 1)])
            await world.flush()
        assert await listed(adapter, world.view(), "default", limit=1) == [new, old]
        await check_all(adapter, world)

    async def test_spans_without_a_root_are_a_trace_too(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: traces whose root has not come yet, which are those that one waits for."""
        world.arrive([light_row(parent_span_id="f" * 16, name="orphan")])
        (row,) = (await adapter.traces(world.view(), "default", limit=5)).to_pylist()
        assert (row["has_root"], row["name"]) == (False, "orphan")

    async def test_nothing_crosses_from_one_project_to_another(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: what one project must not see of another, with the same trace id in both."""
        world.arrive([light_row(project="default", name="mine"), light_row(project="other", name="theirs")])
        for _ in range(2):
            for project, name in (("default", "mine"), ("other", "theirs")):
                rows = await adapter.versions(world.view(), project, [TRACE_ID])
                traces = await adapter.traces(world.view(), project, limit=9)
                assert (rows["name"].to_pylist(), traces["name"].to_pylist()) == ([name], [name])
            assert len(await adapter.traces(world.view(), "third", limit=9)) == 0
            assert len(await adapter.versions(world.view(), "third", [TRACE_ID])) == 0
            await world.flush()

    async def test_an_older_view_keeps_answering_beside_newer_ones(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: a long export that sees the store change under it."""
        world.arrive([light_row(span_id="a" * 16)])
        pinned = world.view()
        for span_id in "bcdefg":
            world.arrive([light_row(span_id=span_id.rjust(16, "0"))])
            await world.flush()
            assert len(await adapter.versions(world.view(), "default", [TRACE_ID])) == len(world.spans)
            assert len(await adapter.versions(pinned, "default", [TRACE_ID])) == 1

    async def test_a_project_with_spans_in_many_hours_of_one_file_is_found_whole(
        self, adapter: SpanIndex, world: World
    ) -> None:
        """Lost otherwise: parts of traces in an import, which brings many hours in one flush."""
        world.arrive(
            light_row(trace_id=t, span_id=f"{i}".zfill(16), start_ns=BASE_NS + i * 30 * _MINUTE_NS)
            for i in range(24)
            for t in _TRACE_IDS
        )
        await world.flush()
        await check_all(adapter, world)

    async def test_sql_sees_the_rows_that_count(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: analytics that count superseded rows, or another project's."""
        world.arrive([light_row(span_id="a" * 16, duration_ns=None), light_row(span_id="b" * 16)])
        await world.flush()
        world.arrive([light_row(span_id="a" * 16, duration_ns=7), light_row(project="other")])
        with supported(adapter.capabilities.sql):
            table = await sql_of(adapter).sql(
                world.view(), "default", "SELECT span_id, duration_ns FROM spans ORDER BY 1"
            )
            assert table.to_pylist() == [
                {"span_id": "a" * 16, "duration_ns": 7}, {"span_id": "b" * 16, "duration_ns": 1_000},
            ]  # fmt: skip

    async def test_a_flipped_row_counts_the_other_way_in_rows_and_sums(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: exact sums, where an agent's tokens came before those of the calls below it."""
        world.arrive([light_row(input_tokens=10), light_row(span_id="b" * 16, input_tokens=4)])
        for count in (1, 2, 3):
            world.flip([span for span in world.spans if span.light["input_tokens"] == 10])
            await check_all(adapter, world)
            (summary,) = (await adapter.summaries(world.view(), "default", [TRACE_ID])).to_pylist()
            assert summary["input_tokens"] == (4 if count % 2 else 14)
            world.arrive([light_row(span_id=f"{count:016x}"[::-1], service="another")])
            await world.flush()
            await check_all(adapter, world)
        await world.compact()
        await check_all(adapter, world)

    async def test_what_a_late_parent_says_is_on_all_that_refer_to_it(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: the agent, session and user of spans that were written before their parents."""
        world.arrive([light_row(context_ref="9".zfill(16), context_agent="own"), light_row(span_id="b" * 16)])
        await world.flush()
        world.tell("default", TRACE_ID, "9".zfill(16), agent="other", session_id="s", ref="8".zfill(16))
        await check_all(adapter, world)
        world.tell("default", TRACE_ID, "8".zfill(16), user_id="u")
        await check_all(adapter, world)
        (row,) = [row for row in (await adapter.versions(world.view(), "default", [TRACE_ID])).to_pylist()
                  if row["span_id"] == "1".zfill(16)]  # fmt: skip
        assert (row["context_agent"], row["context_session_id"], row["context_user_id"]) == ("own", "s", "u")

    async def test_sql_sees_rows_as_they_are_by_now(self, adapter: SpanIndex, world: World) -> None:
        """Lost otherwise: figures that count tokens twice, or give them to nobody's agent."""
        world.arrive([light_row(input_tokens=10), light_row(span_id="b" * 16, context_ref="9".zfill(16))])
        await world.flush()
        world.flip(world.spans[:1])
        world.tell("default", TRACE_ID, "9".zfill(16), agent="a", session_id="s", user_id="u")
        with supported(adapter.capabilities.sql):
            table = await sql_of(adapter).sql(
                world.view(), "default",
                "SELECT counted, context_agent, context_session_id, context_user_id FROM spans ORDER BY span_id",
            )  # fmt: skip
            assert [tuple(row.values()) for row in table.to_pylist()] == [(False, *[None] * 3), (None, "a", "s", "u")]

    async def test_aclose_is_idempotent_and_safe_before_open(self, make: Make[SpanIndex]) -> None:
        """Lost otherwise: a clean end after a start that failed."""
        index = make("main")
        await index.aclose()
        await index.aclose()

    def test_any_course_of_events_gives_the_answers_of_a_plain_model(
        self, make: Make[SpanIndex], objects: Objects
    ) -> None:
        """Lost otherwise: rows or sums, in an order of flushes and versions that nobody thought of."""
        with tempfile.TemporaryDirectory() as folder:
            storages: dict[str, FolderObjects] = {}

            def attached(name: str) -> SpanIndex:
                storages.setdefault(name, objects(Path(folder) / name))
                index = make(name)
                index.attach(storages[name])
                return index

            run_machine(type("Machine", (IndexMachine,), {"storages": storages}), attached)


_LATE = "9".zfill(16)

# By span id: a root, two descendants, and one whose parent never comes.
_PARENTS = {
    "1".zfill(16): None,
    "2".zfill(16): "1".zfill(16),
    "3".zfill(16): "2".zfill(16),
    "4".zfill(16): "9".zfill(16),
}


def _consistent(**values: Any) -> dict[str, Any]:
    """Versions of a span agree on its place: on the parent, and where there is no start, on the receipt."""
    received = BASE_NS if values["start_ns"] is None else values.pop("received_ns")
    parent = _PARENTS[values["span_id"]]
    ref = _LATE if parent == _LATE else None
    return light_row(**(values | {"received_ns": received, "parent_span_id": parent, "context_ref": ref}))


_spans = st.builds(
    _consistent,
    project=st.sampled_from(_PROJECTS),
    trace_id=st.sampled_from(_TRACE_IDS),
    span_id=st.integers(1, 4).map(lambda n: f"{n:016x}"),
    name=st.sampled_from(["chat", "tool", "été"]),
    kind=st.sampled_from(["internal", "client"]),
    service=st.none() | st.sampled_from(["web", "worker"]),
    start_ns=st.none() | st.integers(0, 8).map(lambda n: BASE_NS + n * 20 * _MINUTE_NS),
    duration_ns=st.none() | st.integers(-5, 5 * _MINUTE_NS),
    status=st.sampled_from(["unset", "ok", "error"]),
    session_id=st.none() | st.sampled_from(["s1", "s2"]),
    input_tokens=st.none() | st.integers(0, 1 << 40),
    cost_usd=st.none() | st.decimals(0, 999_999, places=12),
    counted=st.sampled_from([None, False, True]),
    received_ns=st.integers(0, 3).map(lambda n: BASE_NS + n * _MINUTE_NS),
)


class IndexMachine(AdapterMachine[SpanIndex]):
    """Compares an index with the world's model, while spans arrive, are flushed and merged."""

    examples: ClassVar[int] = 20
    steps: ClassVar[int] = 12
    storages: ClassVar[dict[str, FolderObjects]]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.world = World(self.storages[self._name])

    @rule(spans=st.lists(_spans, min_size=1, max_size=8))
    def arrive(self, spans: list[dict[str, Any]]) -> None:
        """A batch is decoded."""
        self.world.arrive(spans)

    @precondition(lambda self: any(span.light["counted"] is not None for span in self.world.spans))
    @rule(data=st.data())
    def flip(self, data: st.DataObject) -> None:
        """Later arrivals change whether rows count."""
        turnable = [span for span in self.world.spans if span.light["counted"] is not None]
        self.world.flip(data.draw(st.lists(st.sampled_from(turnable), max_size=3, unique_by=lambda s: s.arrival)))

    @rule(
        project=st.sampled_from(_PROJECTS),
        trace_id=st.sampled_from(_TRACE_IDS),
        said=st.fixed_dictionaries(
            {"agent": st.sampled_from(["a", "b"]), "user_id": st.sampled_from(["u", "v"])},
            optional={"session_id": st.sampled_from(["s", "t"])},
        ),
    )
    def tell(self, project: str, trace_id: str, said: dict[str, str]) -> None:
        """A span arrives that rows written before refer to. What it said it says for good."""
        self.world.tell_once(project, trace_id, _LATE, said)

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

    @rule()
    def begin_anew(self) -> None:
        """The index is closed and opened again."""
        self.reopen()

    @invariant()
    def answers_agree(self) -> None:
        """Every answer is the model's."""
        self.run(check_all, self.adapter, self.world)


def sql_of(index: SpanIndex) -> SqlIndex:
    """Return ``index`` as one that answers SQL.

    Raises:
        UnsupportedError: it does not.
    """
    if not isinstance(index, SqlIndex):
        raise UnsupportedError("this index answers no SQL")
    return index


async def check_all(index: SpanIndex, world: World) -> None:
    """Assert that all that ``index`` answers about the world is what the model says."""
    view = world.view()
    for project in _PROJECTS:
        await _check_lists(index, world, view, project)
        await _check_rows(index, world, view, project)
        if isinstance(index, Arrivals):
            await check_arrivals(index, world, view, project)


async def listed(index: SpanIndex, view: View, project: str, *, limit: int) -> list[str]:
    """Walk the whole list in pages of ``limit``, and return its trace ids."""
    ids: list[str] = []
    before: TracePosition | None = None
    while True:
        page = (await index.traces(view, project, limit=limit, before=before)).to_pylist()
        ids += [trace_id_of(row["trace_hi"], row["trace_lo"]) for row in page]
        if len(page) < limit:
            return ids
        before = TracePosition(page[-1]["start_ns"], ids[-1])


async def _check_lists(index: SpanIndex, world: World, view: View, project: str) -> None:
    expected = expected_traces(world, project)
    ids = [trace.trace_id for trace in expected]
    assert await listed(index, view, project, limit=2) == ids
    wanted = [*reversed(ids), "f" * 31 + "0"]
    rows = (await index.summaries(view, project, wanted)).to_pylist()
    assert [trace_id_of(row["trace_hi"], row["trace_lo"]) for row in rows] == wanted[:-1]
    for trace, row in zip(expected, reversed(rows), strict=True):
        assert row["name"] in trace.names
        assert row["session_id"] in trace.sessions
        for name in (*ADDED, "start_ns", "end_ns", "has_root"):
            assert row[name] == getattr(trace, name), name
        assert trace.received_ns <= row["received_ns"] <= trace.latest_ns
        assert (row["project"], row["first_row"], row["rows"]) == (project, 0, 0)


async def _check_rows(index: SpanIndex, world: World, view: View, project: str) -> None:
    own = [span for span in world.spans if span.light["project"] == project]
    for ids in ([_TRACE_IDS[0]], _TRACE_IDS):
        rows = (await index.versions(view, project, ids)).to_pylist()
        expected = [_as_row(world, span) for span in own if span.light["trace_id"] in ids]
        assert sorted(rows, key=_place) == sorted(expected, key=_place)
    asked = [*own, *own[:2]]
    payload = await index.payload(view, [Location(span.source, span.row) for span in asked])
    assert payload.schema.equals(PAYLOAD)
    assert payload["span"].to_pylist() == [payload_of(span.light) for span in asked]


def _as_row(world: World, span: SentSpan) -> dict[str, Any]:
    return {**world.now(span), "source": span.source, "row": span.row}


def _place(row: dict[str, Any]) -> tuple[str, int]:
    return row["source"], row["row"]
