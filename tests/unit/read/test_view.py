"""A view while a writer flushes: every row of what was readable, once, at every step in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from agenttrace_adapters.memory import MemoryLiveTable, MemoryQueue
from agenttrace_contracts.index_world import light_row, rows_of
from agenttrace_core.errors import UnavailableError
from agenttrace_core.model.segment import FileKind, OffsetRange, SegmentFile, Snapshot, Superseded
from agenttrace_core.ports.live import LiveChunk, LiveState
from agenttrace_core.schema.traces import trace_sums
from agenttrace_core.services.view import PublishedViews, Views

pytestmark = pytest.mark.anyio


class StepCatalog:
    """A catalog that does something right before it is read."""

    def __init__(self) -> None:
        self.now = Snapshot(0)
        self.before_reading: Any = lambda: None

    async def version(self) -> int:
        self.before_reading()
        return self.now.version

    async def snapshot(self) -> Snapshot:
        return self.now


class CountingQueue(MemoryQueue):
    """A queue that says where it ends."""

    def __init__(self, end: int) -> None:
        super().__init__()
        self.end = end

    async def end_offsets(self) -> dict[int, int]:
        return {0: self.end}


def _chunk(name: str, first: int, end: int) -> LiveChunk:
    rows = rows_of([light_row(span_id=f"{first:016x}", partition=0, offset=first, position=0)])
    return LiveChunk(name, (OffsetRange(0, first, end),), rows, trace_sums(rows))


def _file() -> SegmentFile:
    return SegmentFile(uuid4(), FileKind.SPANS, 0, "", {}, ())


def _views(catalog: StepCatalog, live: MemoryLiveTable, queue: MemoryQueue) -> Views:
    source = PublishedViews(catalog, live)  # type: ignore[arg-type]  # as much of a catalog as a view asks
    return Views(source, queue, max_age_s=0)


async def test_a_commit_between_the_two_readings_neither_hides_nor_doubles_rows() -> None:
    """Lost otherwise: rows, for an instant at every flush; or the truth of every count at that instant."""
    catalog, live = StepCatalog(), MemoryLiveTable()
    await live.publish(LiveState("w", {0: 20}, (_chunk("a", 0, 10), _chunk("b", 10, 20))))

    def commit() -> None:
        catalog.now = Snapshot(1, {0: 10}, (_file(),))

    catalog.before_reading = commit
    view = (await _views(catalog, live, CountingQueue(20)).look()).view
    assert [chunk.id for chunk in view.live.chunks] == ["b"]
    assert len(view.snapshot.files) == 1


async def test_what_the_snapshot_supersedes_is_not_taken_back_twice() -> None:
    """Lost otherwise: sums, lowered twice between a commit and the next publication."""
    catalog, live = StepCatalog(), MemoryLiveTable()
    file = _file()
    said = Superseded(file.id, "default", (3,), b"sums")
    unsaid = Superseded(file.id, "default", (7,), b"other sums")
    await live.publish(LiveState("w", {0: 20}, (_chunk("b", 10, 20),), {}, (said, unsaid)))
    catalog.now = Snapshot(1, {0: 10}, (file,), (said,))
    view = (await _views(catalog, live, CountingQueue(20)).look()).view
    assert list(view.live.superseded) == [unsaid]


async def test_a_correction_that_was_committed_in_part_is_waited_out() -> None:
    """Lost otherwise: half of a correction, since its sums cannot be divided."""
    catalog, live = StepCatalog(), MemoryLiveTable()
    file = _file()
    both = Superseded(file.id, "default", (3, 7), b"sums")
    state = LiveState("w", {0: 20}, (_chunk("b", 10, 20),), {}, (both,))
    await live.publish(state)
    catalog.now = Snapshot(1, {0: 10}, (file,), (Superseded(file.id, "default", (3,), b"a part"),))
    looks = 0

    def publish_later() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            live._state = replace(state, superseded=(Superseded(file.id, "default", (7,), b"the rest"),))

    catalog.before_reading = publish_later
    view = (await _views(catalog, live, CountingQueue(20)).look()).view
    assert [s.rows for s in view.live.superseded] == [(7,)]


async def test_the_lag_counts_what_was_acknowledged_and_is_neither_live_nor_in_files() -> None:
    """Lost otherwise: an answer that is silent about what it leaves out."""
    catalog, live, queue = StepCatalog(), MemoryLiveTable(), CountingQueue(100)
    views = _views(catalog, live, queue)
    assert (await views.look()).lag.partial
    await live.publish(LiveState("w", {0: 60}))
    seen = await views.look()
    assert (seen.lag.partial, seen.readable) == (True, {0: 60})
    catalog.now = Snapshot(1, {0: 100})
    seen = await views.look()
    assert (seen.lag.partial, seen.lag.lag_bytes, seen.readable) == (False, 0, {0: 100})


class AbsentQueue(CountingQueue):
    """A queue that does not answer."""

    async def end_offsets(self) -> dict[int, int]:
        raise UnavailableError("the brokers are away")


async def test_a_queue_that_does_not_answer_leaves_what_is_there_readable_and_says_so() -> None:
    """Lost otherwise: every answer, for as long as the brokers are away; or the word that it may lack something."""
    catalog, live = StepCatalog(), MemoryLiveTable()
    await live.publish(LiveState("w", {0: 60}))
    seen = await _views(catalog, live, AbsentQueue(100)).look()
    assert (seen.lag.partial, seen.lag.lag_bytes, seen.readable) == (True, None, {0: 60})


async def test_an_unchanged_store_gives_the_same_view() -> None:
    """Lost otherwise: what indexes have made of a view, at every query."""
    catalog, live = StepCatalog(), MemoryLiveTable()
    await live.publish(LiveState("w", {0: 20}, (_chunk("a", 0, 10),)))
    views = _views(catalog, live, CountingQueue(20))
    assert (await views.look()).view is (await views.look()).view
