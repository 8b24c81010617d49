"""Newer rules over stored spans, under crashes, beside a writer and a compactor. Sums and owners stay exact."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from agenttrace_core.normalise import canonical
from agenttrace_core.normalise.promote import Filled, promote
from agenttrace_core.normalise.rules import VERSION
from agenttrace_core.services import flush
from agenttrace_core.services.normalise import NormaliseService, Progress, Wanted
from agenttrace_core.services.write import WriteConfig
from tests.faults.deployment import Crash, append, backends, compact_all, crash_at, file_view, nowhere, write_all
from tests.faults.spans import SpanSpec, now_ns, request
from tests.faults.test_pipeline import COMPACTOR_STEPS, EAGER
from tests.faults.test_trees import check, draw_requests

pytestmark = pytest.mark.anyio

STEPS = ("encoded", "stored", "replaced")
ALL = Wanted(since_ns=0)
WRONG_BY = 1_000


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write by rules of an older version, which saw too many tokens. Calling it goes on with the newer ones."""

    def promoted(batch: Any) -> dict[str, Filled]:
        filled = promote(batch)
        tokens = filled["input_tokens"]
        return filled | {"input_tokens": replace(tokens, values=pc.add(tokens.values, WRONG_BY))}

    with monkeypatch.context() as patch:
        patch.setattr(canonical, "promote", promoted)
        patch.setattr(flush, "VERSION", "1")
        yield patch.undo


async def normalise_all(folder: Path, failpoint: Any = nowhere, wanted: Wanted = ALL) -> list[Progress]:
    told: list[Progress] = []
    async with backends(folder) as b:
        service = NormaliseService(catalog=b.catalog, storage=b.storage, piece_rows=3, failpoint=failpoint)
        told.append(await service.run(wanted, told.append))
    return told


async def versions_of(folder: Path) -> set[str]:
    async with backends(folder) as b:
        return {file.normaliser for file in (await b.catalog.snapshot()).files}


async def tokens_of(folder: Path) -> list[int]:
    async with backends(folder) as b:
        view = await file_view(b)
        sums = await b.index.traces(view, "default", limit=1000)
        return [int(tokens) for tokens in sums["input_tokens"].to_pylist()]


@pytest.mark.parametrize("seed", range(6))
async def test_newer_rules_reach_all_rows_and_no_sum_is_wrong_on_the_way(tmp_path: Path, seed: int, older: Any) -> None:
    """Lost otherwise: what a trace has cost, by having it counted anew."""
    rng = random.Random(seed)
    small = WriteConfig(flush_bytes=500, chunk_bytes=300, chunk_interval_s=0.0, tree_slots=1 << 12)
    bodies = [request(*specs) for specs in draw_requests(rng)]
    half = len(bodies) // 2
    for body in bodies[: half + 1]:
        await append(tmp_path, body)
        if rng.random() < 0.5:
            await write_all(tmp_path, config=small)
    await write_all(tmp_path, config=small)
    if rng.random() < 0.5:
        await compact_all(tmp_path, EAGER)
    await check(tmp_path)
    older()
    for body in bodies[half + 1 :]:
        with contextlib.suppress(Crash):
            await normalise_all(tmp_path, crash_at(rng.choice(STEPS), rng.randint(1, 3)))
        await check(tmp_path)
        await append(tmp_path, body)
        await write_all(tmp_path, config=small)
        if rng.random() < 0.3:
            with contextlib.suppress(Crash):
                await compact_all(tmp_path, EAGER, crash_at(rng.choice(COMPACTOR_STEPS)))
    told = await normalise_all(tmp_path)
    assert (told[-1].rows, told[-1].skipped) == (told[-1].of_rows, 0)
    assert await versions_of(tmp_path) == {VERSION}
    assert all(tokens < WRONG_BY for tokens in await tokens_of(tmp_path))
    await check(tmp_path)
    await compact_all(tmp_path, EAGER)
    await check(tmp_path)
    assert all(tokens < WRONG_BY for tokens in await tokens_of(tmp_path))


async def test_a_row_that_a_newer_file_turned_is_right_by_newer_rules(tmp_path: Path, older: Any) -> None:
    """Lost otherwise: a correction in tokens that are no longer those of the row."""
    begun = now_ns()
    agent = SpanSpec(b"t" * 16, b"a" * 8, begun, begun + 9, tokens=10, operation="invoke_agent", agent="planner")
    call = SpanSpec(b"t" * 16, b"c" * 8, begun + 1, begun + 8, b"a" * 8, tokens=7, operation="chat")
    for spec in (agent, call):
        await append(tmp_path, request(spec))
        await write_all(tmp_path)
    older()
    assert await tokens_of(tmp_path) == [7 + WRONG_BY]
    await normalise_all(tmp_path)
    assert await tokens_of(tmp_path) == [7]
    await check(tmp_path)


async def test_what_is_merged_of_old_and_new_is_old(tmp_path: Path, older: Any) -> None:
    """Lost otherwise: rows that newer rules never reach, because their file says that they have been."""
    begun = now_ns() - 7_200 * 10**9
    for span_id in (b"a", b"b"):
        spec = SpanSpec(b"t" * 16, span_id * 8, begun, begun + 9, tokens=1, operation="chat")
        await append(tmp_path, request(spec))
        await write_all(tmp_path)
        older()
    assert await compact_all(tmp_path, EAGER) == 1
    assert await versions_of(tmp_path) == {"1"}
    await normalise_all(tmp_path)
    assert await versions_of(tmp_path) == {VERSION}
    assert await tokens_of(tmp_path) == [2]


async def test_only_what_is_wanted_is_written_again(tmp_path: Path, older: Any) -> None:
    begun = now_ns()
    await append(tmp_path, request(SpanSpec(b"t" * 16, b"a" * 8, begun, begun + 9, tokens=1, operation="chat")))
    await write_all(tmp_path)
    older()
    for wanted in (Wanted(begun + 10), Wanted(0, begun), Wanted(0, None, "other")):
        assert (await normalise_all(tmp_path, wanted=wanted))[-1] == Progress(0, 0, 0, 0)
    assert (await normalise_all(tmp_path, wanted=Wanted(begun, begun + 1, "default")))[-1] == Progress(1, 1, 1, 0)
    assert (await normalise_all(tmp_path))[-1] == Progress(0, 0, 0, 0)
