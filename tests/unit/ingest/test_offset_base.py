"""Rows of a catalog that began with another queue's: their offsets lie above all of those."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from agenttrace_adapters.memory import MemoryQueue, MemoryStorage
from agenttrace_core.model.segment import OffsetRange
from agenttrace_core.ports.queue import Headers, Signal
from agenttrace_core.services.decoded import Decoded
from agenttrace_core.services.memory_of_writes import BodyMemory
from agenttrace_core.services.tail import Tail, decode
from tests.integration.doors import request, span

pytestmark = pytest.mark.anyio

_BASE = 10**12


async def test_offsets_of_rows_and_letters_lie_above_the_base_and_those_of_records_do_not() -> None:
    """Else a flip of a moved row would turn an own one, a letter be lost to one of its id, or a watermark jump."""
    queue = MemoryQueue()
    await queue.open()
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.choice")
    first = await queue.append(Headers("shop", Signal.TRACES, 1), request(span(1)))
    second = await queue.append(Headers("shop", Signal.LOGS, 2), logs.SerializeToString())
    third = await queue.append(Headers("shop", Signal.TRACES, 3), request(span(2)))
    poison = await queue.append(Headers("shop", Signal.TRACES, 4), b"\xff")
    batch = decode(await Tail(queue, MemoryStorage(), {}, offset_base=_BASE).read(1 << 20), BodyMemory(10))
    assert batch.ranges == (OffsetRange(0, 0, poison.next_offset),)
    assert batch.rows["offset"].to_pylist() == [_BASE + first.offset, _BASE + third.offset]
    assert batch.logs["offset"].to_pylist() == [_BASE + second.offset]
    assert [letter.head.id for letter in batch.letters] == [f"0-{_BASE + poison.offset}"]
    below, above = Decoded.of(batch).parted({0: third.offset})
    assert [len(part.batch.rows) for part in (below, above)] == [1, 1]
    assert [len(part.batch.logs) for part in (below, above)] == [1, 0]
    assert [len(part.batch.rows) for part in above.parted({0: third.next_offset})] == [1, 0]
