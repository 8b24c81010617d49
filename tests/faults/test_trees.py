"""What counts, and who owns what, under crashes: spans of growing trees in any order, with retries and late roots.

A run is drawn from a seed, like those of ``test_pipeline``. The oracle is plain Python over the rows of whole traces.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_core.model.span import Quality
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.query.settle import winners
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.services.write import WriteConfig
from tests.faults.deployment import Crash, append, backends, compact_all, crash_at, file_view, write_all
from tests.faults.spans import SpanSpec, now_ns, request
from tests.faults.test_kill import finish, start
from tests.faults.test_pipeline import COMPACTOR_STEPS, EAGER, WRITER_STEPS
from tests.unit.query import tree_oracle as oracle

pytestmark = pytest.mark.anyio

_OPERATIONS = ("", "chat", "embeddings", "invoke_agent", "execute_tool", "fetch_response")


def _seeds() -> list[int]:
    one = os.environ.get("AGENTTRACE_FAULT_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("AGENTTRACE_FAULT_SEEDS", "12"))))


@pytest.mark.parametrize("seed", _seeds())
async def test_sums_and_owners_are_exact_whatever_comes_when_and_whatever_crashes(tmp_path: Path, seed: int) -> None:
    """Lost otherwise: what a trace, a session or an agent has cost."""
    rng = random.Random(seed)
    small = WriteConfig(
        flush_bytes=rng.choice([500, 3_000]), chunk_bytes=rng.choice([300, 900]), chunk_interval_s=0.0,
        tree_slots=rng.choice([16, 1 << 12]),
    )  # fmt: skip
    bodies = [request(*specs) for specs in draw_requests(rng)]
    for number, body in enumerate(bodies):
        await append(tmp_path, body)
        if rng.random() < 0.3:
            await append(tmp_path, rng.choice(bodies[: number + 1]))
        if rng.random() < 0.4:
            step = rng.choice([*WRITER_STEPS, ""])
            with contextlib.suppress(Crash):
                await write_all(tmp_path, config=small, failpoint=crash_at(step, rng.randint(1, 3)))
        if rng.random() < 0.3:
            with contextlib.suppress(Crash):
                await compact_all(tmp_path, EAGER, crash_at(rng.choice([*COMPACTOR_STEPS, ""])))
    await write_all(tmp_path, config=small)
    await check(tmp_path)
    await compact_all(tmp_path, EAGER)
    await check(tmp_path)


async def test_an_agent_whose_calls_come_after_it_stops_counting(tmp_path: Path) -> None:
    """Lost otherwise: sums of senders that export parents first, twice too large."""
    begun = now_ns()
    agent = SpanSpec(b"t" * 16, b"a" * 8, begun, begun + 9, tokens=10, operation="invoke_agent", agent="planner")
    call = SpanSpec(b"t" * 16, b"c" * 8, begun + 1, begun + 8, b"a" * 8, tokens=7, operation="chat")
    for spec in (agent, call):
        await append(tmp_path, request(spec))
        await write_all(tmp_path)
    await check(tmp_path)
    async with backends(tmp_path) as b:
        (sums,) = (await b.index.traces(await file_view(b), "default", limit=9)).to_pylist()
        assert sums["input_tokens"] == call.tokens


@pytest.mark.parametrize("step", WRITER_STEPS)
async def test_a_writer_killed_at_a_step_leaves_sums_exact(tmp_path: Path, step: str) -> None:
    """Lost otherwise: corrections of rows, by a power button, or the same correction made twice."""
    rng = random.Random(step)
    bodies: list[bytes] = []
    while len(bodies) < 8:
        bodies = [request(*specs) for specs in draw_requests(rng)]
    for body in bodies[: len(bodies) // 2]:
        await append(tmp_path, body)
    finish(start(tmp_path, "write", step), expected=-signal.SIGKILL)
    for body in bodies[len(bodies) // 2 :]:
        await append(tmp_path, body)
    finish(start(tmp_path, "write"), expected=0)
    await check(tmp_path)
    finish(start(tmp_path, "compact", rng.choice(COMPACTOR_STEPS)), expected=-signal.SIGKILL)
    await check(tmp_path)
    finish(start(tmp_path, "compact"), expected=0)
    await check(tmp_path)


def draw_requests(rng: random.Random) -> list[list[SpanSpec]]:
    """Draw some traces, and send their spans in any order; some twice, of which the first has no end yet."""
    versions: list[SpanSpec] = []
    for trace in range(rng.randint(1, 4)):
        for spec in _trace(rng, bytes([trace + 1]) * 16):
            versions.append(spec)
            if rng.random() < 0.3:
                versions.append(replace(spec, end_ns=0, tokens=rng.choice([None, 5])))
    rng.shuffle(versions)
    requests: list[list[SpanSpec]] = []
    while versions:
        size = rng.randint(1, 4)
        requests.append(versions[:size])
        versions = versions[size:]
    return requests


def _trace(rng: random.Random, trace_id: bytes) -> list[SpanSpec]:
    begun = now_ns() - rng.choice([0, 3_600]) * 10**9
    ids = [b"m" * 8, *(rng.randbytes(7) + b"\1" for _ in range(rng.randint(1, 9)))]
    return [
        SpanSpec(
            trace_id, ids[n], begun + n, begun + 100 - n, parent=ids[rng.randrange(n)] if n > 1 else b"",
            tokens=rng.choice([None, None, 3, 7]), operation=rng.choice(_OPERATIONS), text="x" * 100,
            agent=rng.choice(["", "", "planner", "coder"]), session=rng.choice(["", "", "s1", "s2"]),
            user=rng.choice(["", "", "u1"]),
        )
        for n in range(1, len(ids))
    ]  # fmt: skip


async def check(folder: Path) -> None:
    """Compare what each index says of the files with the oracle."""
    async with backends(folder) as b:
        view = await file_view(b)
        duckdb = DuckDBIndex.from_url("duckdb:?threads=1")
        duckdb.attach(b.storage)
        await duckdb.open()
        try:
            for index in (b.index, duckdb):
                await check_index(index, view)
            told = await duckdb.sql(view, "default", "SELECT sum(input_tokens) FILTER (counted) n FROM spans")
            ledger = await b.index.traces(view, "default", limit=1000)
            assert (told["n"][0].as_py() or 0) == sum(ledger["input_tokens"].to_pylist())
        finally:
            await duckdb.aclose()


async def check_index(index: SpanIndex, view: View) -> None:
    sums = (await index.traces(view, "default", limit=1000)).to_pylist()
    for row in sums:
        trace_id = trace_id_of(row["trace_hi"], row["trace_lo"])
        rows = await index.versions(view, "default", [trace_id])
        assert winners(rows).all()
        told = rows.to_pylist()
        assert rows["counted"].to_pylist() == oracle.counted(told, int(Quality.COUNTED_BELOW))
        assert row["input_tokens"] == sum(r["input_tokens"] or 0 for r in told if r["counted"])
        names: Sequence[list[str | None]] = [
            rows[name].to_pylist() for name in ("context_agent", "context_session_id", "context_user_id")
        ]
        assert list(zip(*names, strict=True)) == [context[:3] for context in oracle.context(told)]
