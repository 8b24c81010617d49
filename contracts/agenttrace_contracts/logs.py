"""What an index that reads log events and scores must do."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pyarrow as pa
import pytest
import xxhash
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from agenttrace_contracts.base import AdapterMachine, Contract, Make, opened, run_machine
from agenttrace_contracts.index_world import BASE_NS, FolderObjects, LocalFolderObjects
from agenttrace_core.errors import UnsupportedError
from agenttrace_core.model.algebra import Interval
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot, StoredObject
from agenttrace_core.ports.index import LogQueries, SpanIndex, View
from agenttrace_core.ports.live import LiveChunk, LiveState
from agenttrace_core.schema.log_files import encode_logs_file
from agenttrace_core.schema.tables import LOGS, ROWS, SCORES, TRACES

_PROJECTS = ("default", "other")
# Two of them share their first eight bytes, by which an index may look first.
_TRACE_IDS = tuple(f"{hi:016x}{lo:016x}" for hi, lo in ((1, 1), (1, 2), ((1 << 64) - 1, 3)))
_HOUR_NS = 3_600_000_000_000

Event = Mapping[str, Any]


class LogQueriesContract(Contract[SpanIndex]):
    """Subclass it, and supply the fixture ``make``, which makes an index that is neither attached nor open."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> LogWorld:
        """An empty world."""
        return LogWorld(FolderObjects(tmp_path / "objects"))

    @pytest.fixture
    async def adapter(self, make: Make[SpanIndex], world: LogWorld) -> AsyncIterator[SpanIndex]:
        """An open index over the world's storage."""
        index = make("main")
        index.attach(world.storage)
        async with opened(index) as adapter:
            yield adapter

    async def test_nothing_is_an_answer_in_the_schema(self, adapter: SpanIndex, world: LogWorld) -> None:
        """Lost otherwise: every page of a trace that has no log events, which is most."""
        index = logs_of(adapter)
        assert (await index.log_records(world.view(), "default", [_TRACE_IDS[0]])).schema.equals(LOGS)
        assert (await index.scores(world.view(), "default", ScoreSelection())).schema.equals(SCORES)

    async def test_a_record_is_found_live_in_a_file_and_across_both(self, adapter: SpanIndex, world: LogWorld) -> None:
        """Lost otherwise: what a call said, until it is written, or from then on."""
        for _ in range(3):
            world.arrive([an_event(trace_id=t, record=f"{t}{n}".encode()) for t in _TRACE_IDS for n in range(3)])
            await check_all(adapter, world)
            await world.flush()
            await check_all(adapter, world)
        await world.compact()
        await check_all(adapter, world)

    async def test_only_the_columns_asked_are_returned(self, adapter: SpanIndex, world: LogWorld) -> None:
        """Lost otherwise: the time that whole records cost, where only their names are asked."""
        world.arrive([an_event(event_name="gen_ai.choice")])
        await world.flush()
        world.arrive([an_event(event_name="gen_ai.choice")])
        names = ["event_name", "trace_id"]
        table = await logs_of(adapter).log_records(world.view(), "default", [_TRACE_IDS[0]], columns=names)
        assert table.schema.equals(pa.schema([LOGS.field(name) for name in names]))
        assert table["event_name"].to_pylist() == ["gen_ai.choice"] * 2

    async def test_nothing_crosses_from_one_project_to_another(self, adapter: SpanIndex, world: LogWorld) -> None:
        """Lost otherwise: what one project must not see of another, with the same trace and score ids in both."""
        for project, value in (("default", 1.0), ("other", 0.0)):
            world.arrive([a_score(project=project, score_id="same", score_value=value)])
        for _ in range(2):
            for project, values in (("default", [1.0]), ("other", [0.0]), ("third", [])):
                for wanted in (ScoreSelection(), ScoreSelection(trace_ids=(_TRACE_IDS[0],))):
                    scores = await logs_of(adapter).scores(world.view(), project, wanted)
                    assert scores["value"].to_pylist() == values
            await world.flush()

    async def test_a_later_score_replaces_an_earlier_in_whatever_order_they_come(
        self, adapter: SpanIndex, world: LogWorld
    ) -> None:
        """Lost otherwise: a judge that changed its mind counts twice, or a retry brings the old verdict back."""
        world.arrive([a_score(score_value=0.2, time_ns=BASE_NS + 5)])
        await world.flush()
        world.arrive([a_score(score_value=0.9, time_ns=BASE_NS + 4)])
        (score,) = (await logs_of(adapter).scores(world.view(), "default", ScoreSelection())).to_pylist()
        assert score["value"] == 0.2
        world.arrive([a_score(score_value=0.5, time_ns=BASE_NS + 5)])
        (score,) = (await logs_of(adapter).scores(world.view(), "default", ScoreSelection())).to_pylist()
        assert score["value"] == 0.5, "of one time, the one that came later"
        await check_all(adapter, world)

    async def test_what_was_replaced_is_not_found_by_what_it_said(self, adapter: SpanIndex, world: LogWorld) -> None:
        """Lost otherwise: a filter that shows what does not count any more."""
        world.arrive([a_score(score_id="x", score_name="tone", session_id="s", time_ns=BASE_NS)])
        world.arrive([a_score(score_id="x", score_name="style", time_ns=BASE_NS + 9)])
        before = ScoreSelection(during=Interval(BASE_NS, BASE_NS + 1))
        for wanted in (ScoreSelection(name="tone"), ScoreSelection(session_ids=("s",)), before):
            assert len(await logs_of(adapter).scores(world.view(), "default", wanted)) == 0

    def test_any_course_of_events_gives_the_answers_of_a_plain_model(self, make: Make[SpanIndex]) -> None:
        """Lost otherwise: records or scores, in an order of flushes and versions that nobody thought of."""
        with tempfile.TemporaryDirectory() as folder:
            storages: dict[str, FolderObjects] = {}

            def attached(name: str) -> SpanIndex:
                storages.setdefault(name, LocalFolderObjects(Path(folder) / name))
                index = make(name)
                index.attach(storages[name])
                return index

            run_machine(type("Machine", (LogMachine,), {"storages": storages}), attached)


class LogWorld:
    """Log records so far, the view that an index is given of them, and which scores count.

    Args:
        storage: where flushed files are put; what the index was attached to.
    """

    def __init__(self, storage: FolderObjects) -> None:
        self.storage = storage
        self.events: list[dict[str, Any]] = []
        self._live: list[list[dict[str, Any]]] = []
        self._files: list[tuple[SegmentFile, list[dict[str, Any]]]] = []

    def view(self) -> View:
        """Return what an index may see."""
        chunks = [
            LiveChunk(f"c{rows[0]['offset']}", (), ROWS.empty_table(), TRACES.empty_table(), _table(rows))
            for rows in self._live
        ]
        return View(Snapshot(len(self._files), {}, tuple(f for f, _ in self._files)), LiveState(chunks=chunks))

    def arrive(self, events: Sequence[Event]) -> None:
        """Add a live chunk."""
        offset = len(self.events)
        rows = [{**event, "offset": offset, "position": position} for position, event in enumerate(events)]
        if rows:
            self._live.append(rows)
            self.events += rows

    async def flush(self) -> None:
        """Make one file of all live chunks."""
        rows = [row for chunk in self._live for row in chunk]
        self._live = []
        await self._put(rows)

    async def compact(self) -> None:
        """Make one file of all files."""
        rows = [row for _, own in self._files for row in own]
        self._files = []
        await self._put(rows)

    async def _put(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        name, encoded = uuid4(), encode_logs_file(_table(rows))
        stored = {
            part: StoredObject(f"{name}/{part}", body.size, xxhash.xxh3_128_hexdigest(body))
            for part, body in encoded.objects.items()
        }
        for part, body in encoded.objects.items():
            await self.storage.put(stored[part].key, [memoryview(body)])
        self._files.append((SegmentFile(name, FileKind.LOGS, 0, "", stored, encoded.segments), rows))

    def counting(self, project: str) -> list[dict[str, Any]]:
        """Return the scores that count, newest first, by going through them in plain Python."""
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for event in self.events:
            if event["project"] != project or event["score_name"] is None:
                continue
            scope = (event["trace_id"], None if event["trace_id"] else event["session_id"])
            rest = tuple(event[n] for n in ("span_id", "response_id", "score_name", "score_source"))
            key = (*scope, event["score_id"]) if event["score_id"] else (*scope, None, *rest)
            if key not in found or _place(found[key]) < _place(event):
                found[key] = event
        return sorted(found.values(), key=_place, reverse=True)


def an_event(**values: Any) -> dict[str, Any]:
    """Return a log record, of which only what matters need be given."""
    defaults: dict[str, Any] = dict.fromkeys(LOGS.names)
    defaults |= {
        "project": "default", "trace_id": _TRACE_IDS[0], "event_name": "gen_ai.choice", "time_ns": BASE_NS,
        "record": b"", "received_ns": BASE_NS, "partition": 0,
    }  # fmt: skip
    return defaults | values


def a_score(**values: Any) -> dict[str, Any]:
    """Return a score, of which only what matters need be given."""
    return an_event(**{"event_name": "gen_ai.evaluation.result", "score_name": "helpful", "score_value": 1.0} | values)


_some_text = st.none() | st.sampled_from(["a", "b"])
_events = st.builds(
    an_event,
    project=st.sampled_from(_PROJECTS),
    trace_id=st.none() | st.sampled_from(_TRACE_IDS),
    span_id=st.none() | st.sampled_from(["1".zfill(16), "2".zfill(16)]),
    event_name=st.sampled_from(["gen_ai.choice", "gen_ai.evaluation.result"]),
    time_ns=st.none() | st.integers(0, 4).map(lambda n: BASE_NS + n * _HOUR_NS // 2),
    session_id=_some_text,
    response_id=_some_text,
    score_name=_some_text,
    score_value=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    score_label=_some_text,
    score_source=_some_text,
    score_id=_some_text,
    record=st.binary(max_size=4),
)
_selections = st.builds(
    ScoreSelection,
    trace_ids=st.none() | st.lists(st.sampled_from(_TRACE_IDS), max_size=2).map(tuple),
    session_ids=st.none() | st.lists(st.sampled_from("ab"), max_size=1).map(tuple),
    name=_some_text,
    during=st.builds(Interval, *[st.none() | st.integers(0, 4).map(lambda n: BASE_NS + n * _HOUR_NS // 2)] * 2),
)


class LogMachine(AdapterMachine[SpanIndex]):
    """Compares an index with the world's model, while records arrive, are flushed and merged."""

    examples: ClassVar[int] = 20
    steps: ClassVar[int] = 12
    storages: ClassVar[dict[str, FolderObjects]]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.world = LogWorld(self.storages[self._name])

    @rule(events=st.lists(_events, min_size=1, max_size=8))
    def arrive(self, events: list[Event]) -> None:
        """A batch is decoded."""
        self.world.arrive(events)

    @rule()
    def flush(self) -> None:
        """The writer flushes."""
        self.run(self.world.flush)

    @rule()
    def compact(self) -> None:
        """All files are merged into one."""
        self.run(self.world.compact)

    @rule(wanted=_selections, limit=st.none() | st.integers(0, 3))
    def ask(self, wanted: ScoreSelection, limit: int | None) -> None:
        """Somebody asks for some scores."""
        self.run(check_scores, self.adapter, self.world, wanted, limit)

    @invariant()
    def answers_agree(self) -> None:
        """Every answer is the model's."""
        self.run(check_all, self.adapter, self.world)


def logs_of(index: SpanIndex) -> LogQueries:
    """Return ``index`` as one that reads log events.

    Raises:
        UnsupportedError: it does not.
    """
    if not isinstance(index, LogQueries):
        raise UnsupportedError("this index reads no log events")
    return index


async def check_all(index: SpanIndex, world: LogWorld) -> None:
    """Assert that all that ``index`` answers about the world is what the model says."""
    view = world.view()
    for project in _PROJECTS:
        for ids in ([_TRACE_IDS[0]], [_TRACE_IDS[1], _TRACE_IDS[1]], _TRACE_IDS):
            rows = (await logs_of(index).log_records(view, project, ids)).to_pylist()
            expected = [e for e in world.events if e["project"] == project and e["trace_id"] in ids]
            assert sorted(rows, key=_place) == sorted(expected, key=_place)
    await check_scores(index, world, ScoreSelection(), 2)


async def check_scores(index: SpanIndex, world: LogWorld, wanted: ScoreSelection, limit: int | None) -> None:
    """Assert that scores come as the model says, in pages of ``limit``."""
    for project in _PROJECTS:
        expected = [_as_score(event) for event in world.counting(project) if _is_wanted(event, wanted)]
        found: list[dict[str, Any]] = []
        before: ScorePlace | None = None
        while True:
            page = await logs_of(index).scores(world.view(), project, wanted, limit=limit, before=before)
            found += page.to_pylist()
            if not limit or len(page) < limit:
                break
            before = ScorePlace(*(found[-1][name] for name in ("time_ns", "partition", "offset", "position")))
        assert found == (expected if limit != 0 else [])


def _is_wanted(event: Event, wanted: ScoreSelection) -> bool:
    start, end = wanted.during.start_ns, wanted.during.end_ns
    return (
        (wanted.trace_ids is None or event["trace_id"] in wanted.trace_ids)
        and (wanted.session_ids is None or event["session_id"] in wanted.session_ids)
        and (wanted.name is None or event["score_name"] == wanted.name)
        and (start is None or _time(event) >= start)
        and (end is None or _time(event) < end)
    )


def _as_score(event: Event) -> dict[str, Any]:
    own = {name: event[f"score_{name}" if f"score_{name}" in event else name] for name in SCORES.names}
    return own | {"time_ns": _time(event)}


def _time(event: Event) -> int:
    time: int = event["received_ns"] if event["time_ns"] is None else event["time_ns"]
    return time


def _place(event: Event) -> tuple[int, ...]:
    return _time(event), event["partition"], event["offset"], event["position"]


def _table(rows: Sequence[Event]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=LOGS)
