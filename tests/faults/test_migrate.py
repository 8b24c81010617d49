"""A move from one deployment to another under crashes: all that was there is there, once, and as it was.

A run is drawn from a seed, as in ``test_pipeline``.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agenttrace_adapters.memory import MemoryQueue
from agenttrace_core.errors import ConfigurationError, ConflictError, CorruptionError
from agenttrace_core.model.score import ScoreSelection
from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_core.services.failpoint import Failpoint
from agenttrace_core.services.migrate import Deployment, MigrateProgress, MigrateService
from agenttrace_core.services.migrate_check import Checked, letters_of
from tests.faults.deployment import Backends, Crash, append, backends, compact_all, crash_at, file_view, write_all
from tests.faults.events import logs_request, score
from tests.faults.spans import SpanSpec, now_ns, request
from tests.faults.test_pipeline import EAGER, SMALL, Sent, check, draw_request, seeds

pytestmark = pytest.mark.anyio

_STEPS = ["begun", "registered", "copied", "committed", "letters copied", "bodies", "checked", "finishing"]
_CHECKED = 10


class _Steps(MigrateProgress):
    def begin(self, step: str, total_bytes: int) -> None:
        assert step
        self.left = total_bytes

    def advance(self, size: int) -> None:
        self.left -= size


class _Queue(MemoryQueue):
    """The target's, of several partitions; it outlives the processes of a test."""

    async def aclose(self) -> None:
        """It is another process that ends."""


@pytest.fixture
async def queue() -> _Queue:
    made = _Queue(partitions=3)
    await made.open()
    return made


@asynccontextmanager
async def _both(folder: Path, queue: _Queue) -> AsyncIterator[tuple[Backends, Backends]]:
    async with backends(folder / "source") as source, backends(folder / "target", queue) as target:
        yield source, target


async def _migrate(folder: Path, queue: _Queue, failpoint: Failpoint | None = None) -> Sequence[Checked]:
    async with _both(folder, queue) as (source, target):
        held, empty = (Deployment(b.queue, b.storage, b.catalog) for b in (source, target))
        service = MigrateService(held, empty, _Steps(), failpoint=failpoint or (lambda _: None))
        return await service.run()


async def _until_migrated(folder: Path, queue: _Queue) -> None:
    checked = await _migrate(folder, queue)
    assert len(checked) == _CHECKED
    assert [c for c in checked if not c.is_same] == []


@pytest.mark.parametrize("seed", seeds())
async def test_a_move_that_crashes_anywhere_ends_with_all_that_there_was(
    tmp_path: Path, queue: _Queue, seed: int
) -> None:
    """Lost otherwise: what a user kept for years, when it was moved once."""
    rng, source = random.Random(seed), tmp_path / "source"
    sent, bodies = Sent(), list[tuple[str, bytes]]()
    for _ in range(6):
        for _ in range(rng.randint(1, 4)):
            project, body = draw_request(rng, sent, bodies)
            await append(source, body, b"\xff%d" % rng.randint(0, 99), project=project)
            bodies.append((project, body))
        await write_all(source, config=SMALL)
        if rng.random() < 0.4:
            await compact_all(source, EAGER)
        if rng.random() < 0.5:  # a move of what there is by now, that comes to nothing
            with contextlib.suppress(Crash):
                await _migrate(tmp_path, queue, crash_at(rng.choice(_STEPS), rng.randint(1, 3)))
        if await _is_finished(tmp_path, queue):
            break
    for _ in range(3):
        with contextlib.suppress(Crash):
            await _migrate(tmp_path, queue, crash_at(rng.choice(_STEPS), rng.randint(1, 3)))
    if not await _is_finished(tmp_path, queue):
        await _until_migrated(tmp_path, queue)
    assert await _migrate(tmp_path, queue) == (), "it is completed once"
    await check(tmp_path / "target", sent)
    await _check_all_else(tmp_path, queue)
    await compact_all(tmp_path / "target", EAGER)
    await check(tmp_path / "target", sent)


async def _is_finished(folder: Path, queue: _Queue) -> bool:
    async with backends(folder / "target", queue) as target:
        move = await target.catalog.move()
        return move is not None and move.finished


async def _check_all_else(folder: Path, queue: _Queue) -> None:
    async with _both(folder, queue) as (source, target):
        for b in (source, target):
            assert await b.catalog.projects_with_letters() == await source.catalog.projects_with_letters()
        for project in await source.catalog.projects_with_letters():
            letters = [letter async for letter in letters_of(source.catalog, project)]
            assert [letter async for letter in letters_of(target.catalog, project)] == letters
            for letter in letters:
                assert letter.object is not None
                assert await target.storage.get(letter.object.key) == await source.storage.get(letter.object.key)
        known = await source.catalog.bodies(1 << 30)
        assert set(await target.catalog.bodies(1 << 30)) == set(known)


async def test_a_trace_goes_on_where_it_was_moved_to(tmp_path: Path, queue: _Queue) -> None:
    """A span of the first record there must not be taken for that of the first record here, which is turned."""
    start, trace = now_ns(), b"t" * 16
    agent = SpanSpec(trace, b"a" * 8, start, start + 9, tokens=7, operation="invoke_agent")
    await append(tmp_path / "source", request(agent))
    await write_all(tmp_path / "source")
    await _until_migrated(tmp_path, queue)
    call = SpanSpec(trace, b"c" * 8, start + 1, start + 5, parent=agent.span_id, tokens=3, operation="chat")
    for number in (0, 1, 2):  # the offset of the first record of each partition is that of the agent's
        body = request(replace(call, span_id=b"c%d" % number * 4))
        await queue.append(Headers("default", Signal.TRACES, time.time_ns()), body, partition=number)
    target = tmp_path / "target"
    await write_all(target, queue=queue)
    for _ in range(2):
        assert await _tokens(target) == 9, "the agent's own total counts no more, and each call does"
        async with backends(target, queue) as b:
            rows = await b.index.versions(await file_view(b), "default", [trace.hex()])
            counted = dict(zip(rows["span_id"].to_pylist(), rows["counted"].to_pylist(), strict=True))
            assert counted == {agent.span_id.hex(): False} | {(b"c%d" % n * 4).hex(): True for n in range(3)}
        await compact_all(target, replace(EAGER, fan_in=2))


async def _tokens(folder: Path) -> int:
    async with backends(folder) as b:
        [row] = (await b.index.traces(await file_view(b), "default", limit=10)).to_pylist()
        return int(row["input_tokens"])


async def test_what_was_moved_is_not_new_and_a_retry_is_known(tmp_path: Path, queue: _Queue) -> None:
    """A live tail that told of years of spans would be no use; a request sent again after the move is no second one."""
    start = now_ns()
    old = request(SpanSpec(b"o" * 16, b"o" * 8, start, start + 1, tokens=1))
    for folder_bytes in (old, request(SpanSpec(b"p" * 16, b"o" * 8, start, start + 1))):
        await append(tmp_path / "source", folder_bytes)
    await write_all(tmp_path / "source")
    await _until_migrated(tmp_path, queue)
    headers = Headers("default", Signal.TRACES, time.time_ns())
    await queue.append(headers, old, partition=1)
    await queue.append(headers, request(SpanSpec(b"n" * 16, b"n" * 8, start, start + 1)), partition=1)
    await write_all(tmp_path / "target", queue=queue)
    async with backends(tmp_path / "target", queue) as b:
        view = await file_view(b)
        new = await b.index.arrivals(view, "default", {}, limit=10)
        assert new["trace_id"].to_pylist() == [(b"n" * 16).hex()]
        assert sum(file.rows for file in view.snapshot.files) == 3


async def test_scores_are_moved(tmp_path: Path, queue: _Queue) -> None:
    """Lost otherwise: what people thought of answers."""
    await append(tmp_path / "source", logs_request(score("good", 0.5, b"t" * 16)), signal=Signal.LOGS)
    await write_all(tmp_path / "source")
    await _until_migrated(tmp_path, queue)
    async with backends(tmp_path / "target", queue) as b:
        found = await b.index.scores(await file_view(b), "default", ScoreSelection(name="good"))
        assert found["value"].to_pylist() == [0.5]


async def test_a_target_that_holds_something_else_is_refused(tmp_path: Path, queue: _Queue) -> None:
    """Two deployments poured into one could never be parted again."""
    for name in ("source", "other"):
        await append(tmp_path / name, request(SpanSpec(b"t" * 16, b"s" * 8, now_ns(), 0)))
        await write_all(tmp_path / name)
    await queue.append(Headers("default", Signal.TRACES, 1), request(SpanSpec(b"u" * 16, b"s" * 8, now_ns(), 0)))
    await write_all(tmp_path / "target", queue=queue)
    with pytest.raises(ConfigurationError, match="not empty"):
        await _migrate(tmp_path, queue)
    with contextlib.suppress(Crash):
        await _other(tmp_path, queue, crash_at("committed"))
    async with backends(tmp_path / "third", queue) as b:
        assert await b.catalog.move() is not None
    with pytest.raises(ConfigurationError, match="has begun before"):
        async with backends(tmp_path / "source") as s, backends(tmp_path / "third", queue) as t:
            await MigrateService(_of(s), _of(t), _Steps()).run()


async def _other(folder: Path, queue: _Queue, failpoint: Failpoint) -> None:
    async with backends(folder / "other") as s, backends(folder / "third", queue) as t:
        await MigrateService(_of(s), _of(t), _Steps(), failpoint=failpoint).run()


def _of(b: Backends) -> Deployment:
    return Deployment(b.queue, b.storage, b.catalog)


async def test_what_waits_in_the_queue_is_not_left_behind(tmp_path: Path, queue: _Queue) -> None:
    """What was acknowledged and is in no file yet is the newest there is."""
    await append(tmp_path / "source", request(SpanSpec(b"t" * 16, b"s" * 8, now_ns(), 0)))
    with pytest.raises(ConfigurationError, match=r"waits in the source's queue.*those that take spans first"):
        await _migrate(tmp_path, queue)


async def test_a_source_that_goes_on_taking_spans_is_found_out(tmp_path: Path, queue: _Queue) -> None:
    """A door that was forgotten acknowledges what nobody will ever read."""
    body = request(SpanSpec(b"t" * 16, b"s" * 8, now_ns(), 0))
    await append(tmp_path / "source", body)
    await write_all(tmp_path / "source")
    async with _both(tmp_path, queue) as (source, target):

        def take_one_more(step: str) -> None:
            nonlocal body
            if step == "checked":
                ends[0] += 1

        ends = {0: 0}

        class Growing(MemoryQueue):
            queue_id = source.queue.queue_id

            async def end_offsets(self) -> dict[int, int]:
                found = dict(await source.queue.end_offsets())
                return {0: found[0] + ends[0]}

        growing = Deployment(Growing(), source.storage, source.catalog)
        with pytest.raises(ConflictError, match="run this again"):
            await MigrateService(growing, _of(target), _Steps(), failpoint=take_one_more).run()
        move = await target.catalog.move()
        assert move is not None
        assert not move.finished
    await _until_migrated(tmp_path, queue)


async def test_a_damaged_object_is_named_and_nothing_is_finished(tmp_path: Path, queue: _Queue) -> None:
    """Copied as it is, the damage would be found when the source is long gone."""
    await append(tmp_path / "source", request(SpanSpec(b"t" * 16, b"s" * 8, now_ns(), 0)))
    await write_all(tmp_path / "source")
    [light] = (tmp_path / "source" / "objects").rglob("*.light.parquet")
    whole = light.read_bytes()
    light.chmod(0o644)
    light.write_bytes(whole[:-1] + b"?")
    with pytest.raises(CorruptionError, match=light.name):
        await _migrate(tmp_path, queue)
    light.write_bytes(whole)
    await _until_migrated(tmp_path, queue)


async def test_a_difference_is_told_and_the_target_stays_closed(tmp_path: Path, queue: _Queue) -> None:
    """A storage that loses what it has acknowledged must be found out before the source is given up."""
    await append(tmp_path / "source", request(SpanSpec(b"t" * 16, b"s" * 8, now_ns(), 0)))
    await write_all(tmp_path / "source")

    def lose_one(step: str) -> None:
        if step == "bodies":
            next((tmp_path / "target" / "objects").rglob("*.payload.parquet")).unlink()

    checked = await _migrate(tmp_path, queue, lose_one)
    assert [c.what for c in checked if not c.is_same] == ["objects with their checksums"]
    assert not await _is_finished(tmp_path, queue)
