"""That the programme measures what it says: a benchmark that is wrong is worse than none."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.benchmarks.bodies import SPANS, SPANS_PER_TRACE, Bodies, single_trace, trace_ids
from tests.benchmarks.load import Ack, load, run_load
from tests.benchmarks.meter import metered
from tests.benchmarks.probes import bare_door
from tests.benchmarks.report import Figure
from tests.benchmarks.sender import Orders

pytestmark = pytest.mark.anyio


def _spans(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    return Bodies(count=4)


def test_a_request_is_what_an_agent_sends(bodies: Bodies) -> None:
    """Without this the figures would be of some other load than the one they are quoted for."""
    now_ns = time.time_ns()
    bodies.patch(bodies.templates[0], 7, 42, now_ns)
    spans = _spans(bodies.templates[0].tobytes())

    assert len(spans) == SPANS
    assert 1_300 < bodies.length / SPANS < 1_500
    assert [span.trace_id.hex() for span in spans[::SPANS_PER_TRACE]] == trace_ids(7, 42)
    assert max(span.end_time_unix_nano for span in spans) == now_ns
    for first in range(0, SPANS, SPANS_PER_TRACE):
        root, *others = spans[first : first + SPANS_PER_TRACE]
        assert not root.parent_span_id
        assert {span.trace_id for span in others} == {root.trace_id}
        assert {span.parent_span_id for span in others} == {root.span_id}
        assert all(root.start_time_unix_nano <= span.start_time_unix_nano for span in others)
        assert all(span.start_time_unix_nano < span.end_time_unix_nano <= root.end_time_unix_nano for span in others)


def test_the_text_compresses_like_peoples(bodies: Bodies) -> None:
    """Random text would make files look too large, repeated text too small; recorded agent traces give 3.6."""
    bodies.patch(bodies.templates[1], 7, 43, time.time_ns())
    raw = bodies.templates[1].tobytes()
    assert 3.4 < len(raw) / len(zstandard.ZstdCompressor(level=3).compress(raw)) < 4.1


def test_no_id_comes_twice(bodies: Bodies) -> None:
    """A repeated id would be taken for a retry, and be dropped instead of stored."""
    traces: set[bytes] = set()
    spans: set[bytes] = set()
    for seed, number in ((1, 0), (1, 1), (1, 500_000), (2, 0), (2, 1)):
        bodies.patch(bodies.templates[0], seed, number, time.time_ns())
        found = _spans(bodies.templates[0].tobytes())
        traces |= {span.trace_id for span in found}
        spans |= {span.span_id for span in found}
    assert len(traces) == 5 * SPANS // SPANS_PER_TRACE
    assert len(spans) == 5 * SPANS


def test_a_single_trace_hangs_together() -> None:
    """Else the long trace that is read would be many short ones."""
    trace_id = os.urandom(16)
    spans = [span for body in single_trace(trace_id, 3, time.time_ns()) for span in _spans(body)]
    assert {span.trace_id for span in spans} == {trace_id}
    ids = {span.span_id for span in spans}
    assert len(ids) == 3 * SPANS
    assert sum(not span.parent_span_id for span in spans) == 3
    assert all(span.parent_span_id in ids for span in spans if span.parent_span_id)


async def test_a_rate_is_held_and_every_answer_is_counted() -> None:
    """Else a rate that is quoted would not be the rate that was sent."""
    acks: list[Ack] = []
    async with bare_door() as url:
        orders = Orders(url, "", rate=20 * SPANS, seconds=2.0, connections=4, templates=4, sample_every=10)
        result = await run_load(orders, senders=2, on_ack=acks.append)
    assert 32 * SPANS <= result.acked_spans <= 42 * SPANS
    assert result.acked_per_s == pytest.approx(20 * SPANS, rel=0.25)
    assert set(result.statuses) == {"200"}
    assert len(result.acked()) * SPANS == result.acked_spans
    assert {ack.seed for ack in acks} == {1, 2}
    assert (result.latencies_ms("due_ns") >= result.latencies_ms() - 0.001).all()


_Answer = Callable[[int], bytes]


async def _serve(answer: _Answer) -> tuple[asyncio.Server, str]:
    """Serve HTTP on a free port; ``answer`` gives the response to the n-th request."""
    count = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
                count += 1
                response = answer(count)
                writer.write(response)
                if not response:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, limit=2**20)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/traces"


def _response(status: str, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n{headers}\r\nOK".encode()


async def test_what_is_turned_away_is_sent_again_after_the_time_asked_for() -> None:
    """Else overload would be counted as loss, or the sender would hammer a server that asked for patience."""
    times: list[float] = []

    def answer(number: int) -> bytes:
        times.append(time.monotonic())
        return _response("429 Too Many Requests", "Retry-After: 1\r\n") if number == 1 else _response("200 OK")

    server, url = await _serve(answer)
    async with server:
        result = await run_load(Orders(url, "", requests=2, connections=1, templates=2))
    assert result.statuses == {"429": 1, "200": 2}
    assert result.records[1]["tries"].tolist() == [2, 1]
    assert times[1] - times[0] >= 1.0
    assert len(result.acked()) == 2


async def test_a_broken_connection_is_not_taken_for_an_acknowledgement() -> None:
    """Else kill -9 would seem to lose what was never acknowledged."""
    server, url = await _serve(lambda number: _response("200 OK", "agenttrace-receipt: aBc\r\n") if number < 3 else b"")
    acks: list[Ack] = []
    async with server:
        orders = Orders(url, "", requests=5, connections=1, templates=2, sample_every=1)
        async with load(orders, on_ack=acks.append) as sending:
            following = asyncio.create_task(sending.wait())
            await asyncio.sleep(1.0)
            sending.stop()
            result = await following
    assert [number for _, number in result.acked()] == [0, 1]
    assert [(ack.request, ack.receipt) for ack in acks] == [(0, "aBc"), (1, "aBc")]
    assert result.statuses["0"] >= 1
    assert (result.records[1]["acked_ns"][2:] == 0).all()


async def test_the_meter_counts_a_tree_by_name() -> None:
    """Else a cost could hide in a process that nobody looks at."""
    work = "held = bytearray(50_000_000)\nimport time\nwhile time.process_time() < 0.5: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}, 'busy'])"

    def name_of(words: list[str]) -> str:
        return "child" if "busy" in words else "parent"

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent)
    async with metered([process.pid], name_of, every_s=0.05) as meter:
        await process.wait()
    assert meter.cpu_s["child"] == pytest.approx(0.5, abs=0.2)
    assert meter.cpu_s["parent"] < 0.3
    assert meter.peak_pss > 50_000_000
    assert meter.machine_cpu_s > 0.4


def test_a_bound_is_kept_or_not() -> None:
    """A table that shows a missed bound in green would mislead whoever skims it."""
    assert Figure("p95", 9.0, "ms", "< 10").met is True
    assert Figure("p95", 10.0, "ms", "< 10").met is False
    assert Figure("rate", 80_000.0, "spans/s", ">= 80000").met is True
    assert Figure("rate", float(np.nan), "spans/s", ">= 80000").met is False
    assert Figure("rate", 1.0, "spans/s").met is None
