"""The doors' service as an embedder uses it: no server, a queue in memory."""

from __future__ import annotations

import json
import threading
import time

import anyio
import pytest

from agenttrace_adapters.memory import MemoryQueue
from agenttrace_core.errors import InvalidInputError, UnavailableError
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.receipt import Receipt
from agenttrace_core.ports.queue import Signal
from agenttrace_core.services.admission import Admission, IngestLimits, backlog_bytes
from agenttrace_core.services.appender import Appender
from agenttrace_core.services.ingest import IngestMetrics, IngestService
from agenttrace_core.services.refusals import Refusals
from agenttrace_core.wire.status import Encoding
from tests.integration.doors import request, span

pytestmark = pytest.mark.anyio

_KEY = b"k" * 32
_SHOP = Principal("shop")


class _Counted(IngestMetrics):
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def stored(self, signal: Signal, items: int, size: int, append_s: float) -> None:
        self.calls.append(("stored", signal, items, size))

    def refused(self, signal: Signal, kind: str, items: int) -> None:
        self.calls.append(("refused", signal, kind, items))

    def forgotten(self, signal: Signal) -> None:
        self.calls.append(("forgotten", signal))


class _Watermarks:
    def __init__(self, watermarks: dict[int, int]) -> None:
        self._watermarks = watermarks

    async def watermarks(self) -> tuple[None, dict[int, int]]:
        return None, self._watermarks


async def _service(metrics: _Counted | None = None) -> tuple[IngestService, MemoryQueue]:
    queue = MemoryQueue.from_url("memory:")
    await queue.open()
    limits, appender = IngestLimits(), Appender(queue)
    service = IngestService(
        appender,
        _KEY,
        admission=Admission(limits),
        refusals=Refusals(appender, limits),
        metrics=metrics or _Counted(),
        clock_ns=lambda: 42,
    )
    return service, queue


async def test_a_receipt_names_what_was_stored_and_opens_in_its_project_only() -> None:
    """Receipts cost no write: all that they say is in them, signed."""
    service, queue = await _service()
    ingested = await service.traces(_SHOP, request(span(1), span(2)))
    [record] = await queue.read(0, 0, max_bytes=1 << 20)
    receipt = Receipt.open(ingested.receipt_id, _KEY, "shop")
    assert receipt.ends == {0: record.position.next_offset}
    assert (receipt.signal, receipt.accepted, receipt.received_ns) == ("traces", 2, 42)
    assert (record.headers.project, record.headers.received_ns) == ("shop", 42)


async def test_large_requests_are_checked_beside_the_event_loop_with_the_same_result() -> None:
    """A request of many megabytes must not make all others wait; where it is checked must not show."""
    service, queue = await _service()
    spans = [{"traceId": f"{n:032x}", "spanId": f"{n:016x}", "name": "x" * 100} for n in range(1, 1000)]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    assert (await service.traces(_SHOP, body, Encoding.JSON)).accepted == 999
    large = request(*(span(n, name="y" * 5000) for n in range(1, 1000)), span(7, trace_id=b"bad"))
    assert len(large) > 4 << 20
    ingested = await service.traces(_SHOP, large)
    assert (ingested.accepted, ingested.rejected) == (999, 1)
    assert len(await queue.read(0, 0, max_bytes=1 << 30)) == 2


async def test_bodies_of_other_forms_are_read_a_few_at_a_time_and_held_against_the_account() -> None:
    """Read by forty threads at once, plain JSON would take a server's memory many times over."""
    service, _ = await _service()
    under_way, most = 0, 0
    lock = threading.Lock()

    def parse(body: bytes) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return len(body)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(service.read, parse, b"12345")
        await anyio.sleep(0.01)
        assert service.admission.in_flight == 8 * 5
    assert service.admission.in_flight == 0
    assert most <= 2


async def test_every_request_is_counted_once() -> None:
    """Operators alarm on refused by reason; the sums must be those of the spans."""
    metrics = _Counted()
    service, queue = await _service(metrics)
    body = request(span(1), span(2, span_id=b""))
    await service.traces(_SHOP, body)
    with pytest.raises(InvalidInputError):
        await service.logs(_SHOP, b"\xff")
    await queue.aclose()
    with pytest.raises(UnavailableError):
        await service.traces(_SHOP, request(span(1)))
    await service.traces(_SHOP, b"")
    assert metrics.calls == [
        ("stored", Signal.TRACES, 1, len(request(span(1)))),
        ("refused", Signal.TRACES, "invalid_item", 1),
        ("refused", Signal.LOGS, "invalid_input", 0),
        ("refused", Signal.TRACES, "unavailable", 0),
    ]
    assert service.admission.in_flight == 0


async def test_the_backlog_is_what_lies_above_the_watermarks() -> None:
    """A partition that the writer has not met yet counts from its beginning."""
    service, queue = await _service()
    await service.traces(_SHOP, request(span(1)))
    end = (await queue.end_offsets())[0]
    assert await backlog_bytes(queue, _Watermarks({})) == end  # type: ignore[arg-type]
    assert await backlog_bytes(queue, _Watermarks({0: end - 10, 7: 99})) == 10  # type: ignore[arg-type]
