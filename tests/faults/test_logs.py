"""Log records go the way of spans. If these fail, what a call said is lost, doubled, or kept for ever."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agenttrace_core.model.retention import Retention
from agenttrace_core.model.segment import FileKind
from agenttrace_core.ports.queue import Signal
from agenttrace_core.schema.tables import LOG_TRACES, LOGS, SCORES
from agenttrace_core.services.compact import CompactConfig
from tests.faults.deployment import Crash, append, backends, compact_all, crash_at, write_all
from tests.faults.events import EventSpec, logs_request, score
from tests.faults.spans import now_ns

pytestmark = pytest.mark.anyio

DAY_NS = 86_400 * 10**9
A, B = b"a" * 16, b"b" * 16
EAGER = CompactConfig(fan_in=2, grace_s=0.0)


async def stored(folder: Path) -> list[tuple[pa.Table, pa.Table, pa.Table]]:
    """Return records, traces and scores of each file of logs, as they lie in storage."""
    found = []
    async with backends(folder) as b:
        for file in (await b.catalog.snapshot()).files:
            assert file.kind is FileKind.LOGS
            data = {name: await b.storage.get(o.key) for name, o in file.objects.items()}
            records = pq.read_table(pa.BufferReader(data["records"])).cast(LOGS)
            scores = (
                pq.read_table(pa.BufferReader(data["scores"])).cast(SCORES)
                if "scores" in data
                else SCORES.empty_table()
            )
            traces = pa.ipc.open_file(data["traces"]).read_all()
            assert traces.schema == LOG_TRACES
            assert [len(records), len(traces)] == [
                sum(getattr(s, n) for s in file.segments) for n in ("rows", "traces")
            ]
            found.append((records, traces, scores))
    return found


async def test_records_lie_by_project_hour_and_trace_and_can_be_found(tmp_path: Path) -> None:
    now = now_ns()
    for n in range(8):
        events = [
            EventSpec("gen_ai.choice", B, time_ns=now + n, body=f"b{n}"),
            EventSpec("gen_ai.choice", A, time_ns=now + n, body=f"a{n}"),
            EventSpec("gen_ai.choice", b"short", body="of no trace"),
            score("helpful", 1.0, A, time_ns=now - DAY_NS),
        ]
        await append(tmp_path, logs_request(*events, service=f"s{n}"), project=f"p{n % 2}", signal=Signal.LOGS)
        await write_all(tmp_path)
    await compact_all(tmp_path, CompactConfig(fan_in=2, grace_s=0.0, piece_rows=3))
    ((records, traces, scores),) = await stored(tmp_path)
    rows = records.select(["project", "trace_id", "time_ns"]).to_pylist()
    assert len(rows) == 32
    assert len(scores) == 8
    assert [row["project"] for row in rows] == sorted(row["project"] for row in rows)
    for run in traces.to_pylist():
        own = rows[run["first_row"] : run["first_row"] + run["rows"]]
        wanted = f"{run['trace_hi']:016x}{run['trace_lo']:016x}"
        assert {row["trace_id"] or "0" * 32 for row in own} == {wanted}
    # Each project: yesterday's scores of A; this hour's records of no trace, of A, and of B.
    assert traces["rows"].to_pylist() == [4] * 8


async def test_a_crash_at_any_step_neither_loses_nor_doubles_a_score(tmp_path: Path) -> None:
    for n, step in enumerate(["encoded", "stored", "committing", "committed", "trimmed"]):
        await append(tmp_path, logs_request(score("helpful", n / 10, A, time_ns=now_ns() + n)), signal=Signal.LOGS)
        with pytest.raises(Crash):
            await write_all(tmp_path, failpoint=crash_at(step))
        await write_all(tmp_path)
    for step in ("merged", "stored", "replaced"):
        with pytest.raises(Crash):
            await compact_all(tmp_path, EAGER, crash_at(step))
    await compact_all(tmp_path, EAGER)
    values = [value for _, _, scores in await stored(tmp_path) for value in scores["value"].to_pylist()]
    assert sorted(values) == [0.0, 0.1, 0.2, 0.3, 0.4]


async def test_a_request_that_is_sent_again_is_there_once(tmp_path: Path) -> None:
    body = logs_request(EventSpec("gen_ai.choice", A, time_ns=now_ns(), body="once"))
    await append(tmp_path, body, body, signal=Signal.LOGS)
    await write_all(tmp_path)
    await append(tmp_path, body, signal=Signal.LOGS)
    await write_all(tmp_path)
    ((records, _, _),) = await stored(tmp_path)
    assert len(records) == 1


async def test_records_expire_with_their_hour_and_project(tmp_path: Path) -> None:
    old, new = now_ns() - 10 * DAY_NS, now_ns()
    body = logs_request(EventSpec("gen_ai.choice", A, time_ns=old), EventSpec("gen_ai.choice", B, time_ns=new))
    for project in ("default", "other"):
        await append(tmp_path, body, project=project, signal=Signal.LOGS)
    await write_all(tmp_path)
    retention = Retention(expire_after_s=7 * 86_400, projects={"other": 30 * 86_400})
    await compact_all(tmp_path, CompactConfig(grace_s=0.0, retention=retention))
    ((records, _, _),) = await stored(tmp_path)
    left = list(zip(records["project"].to_pylist(), records["trace_id"].to_pylist(), strict=True))
    assert left == [("default", B.hex()), ("other", A.hex()), ("other", B.hex())]


async def test_a_record_whose_time_is_absurd_belongs_to_the_hour_of_its_receipt(tmp_path: Path) -> None:
    """Else a clock that is off makes windows that never end, or expire at once."""
    events = [EventSpec("gen_ai.choice", A, time_ns=time) for time in (0, 1, 2**64 - 1, now_ns() + 3 * DAY_NS)]
    await append(tmp_path, logs_request(*events), signal=Signal.LOGS)
    await write_all(tmp_path)
    async with backends(tmp_path) as b:
        (file,) = (await b.catalog.snapshot()).files
        assert [segment.rows for segment in file.segments] == [4]
        assert abs(file.segments[0].min_start_ns - now_ns()) < 3600 * 10**9
