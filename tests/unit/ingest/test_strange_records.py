"""Records that came by no door of ours: a Collector writes into the queue by itself, and checks nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agenttrace_adapters.memory import MemoryQueue, MemoryStorage
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_core.ports.catalog import Commit
from agenttrace_core.ports.queue import Headers, Position, Record, Signal
from agenttrace_core.services import tail
from agenttrace_core.services.flush import store_letters
from agenttrace_core.services.live_group import LiveGroup
from agenttrace_core.services.memory_of_writes import BodyMemory
from agenttrace_core.services.refusals import RefusedInput
from agenttrace_core.services.tail import Read, Tail, decode
from agenttrace_core.wire.json_read import traces_from_json

_RECEIVED_NS = 1_800_000_000_000_000_000


def _record(offset: int, ids: list[tuple[bytes, bytes]]) -> Record:
    """A request of spans by trace id and span id, of which some no JSON could say."""
    spans = [{"traceId": f"{n + 1:032x}", "spanId": f"{n + 1:016x}", "name": f"s{n}"} for n in range(len(ids))]
    body = traces_from_json(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()).body

    request = ExportTraceServiceRequest.FromString(body)
    for span, (trace_id, span_id) in zip(request.resource_spans[0].scope_spans[0].spans, ids, strict=True):
        span.trace_id, span.span_id = trace_id, span_id
    headers = Headers("shop", Signal.TRACES, _RECEIVED_NS)
    return Record(Position(0, offset, offset + 1), headers, request.SerializeToString())


_GOOD = (b"\x01" * 16, b"\x02" * 8)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param([(bytes(16), b"\x02" * 8)], id="trace id of zeros"),
        pytest.param([(b"\x01" * 16, bytes(8))], id="span id of zeros"),
        pytest.param([(b"\x01" * 4, b"\x02" * 8)], id="short trace id"),
        pytest.param([(b"\x01" * 15, b"\x02" * 8), (b"\x01" * 17, b"\x02" * 8)], id="lengths that add up"),
        pytest.param([(b"", b"")], id="no ids"),
    ],
)
def test_a_span_that_could_not_be_found_costs_its_neighbors_nothing(bad: list[tuple[bytes, bytes]]) -> None:
    """Lost: the rest of a Collector's batch; or a span would be kept under an id that nobody can ask for."""
    other = (b"\x03" * 16, b"\x04" * 8)
    batch = decode(Read([_record(0, [_GOOD, *bad]), _record(1, [other])], ()), BodyMemory(100))
    assert batch.rows["trace_id"].to_pylist() == ["01" * 16, "03" * 16]
    (letter,) = batch.letters
    assert (letter.head.project, letter.head.spans) == ("shop", len(bad))
    assert "id" in letter.head.reason
    assert RefusedInput.from_record(letter.body).spans == len(bad)


def test_a_record_that_is_no_request_is_a_letter_whole() -> None:
    """A poison record must not stall the partition, nor cost the record after it."""
    poison = Record(Position(0, 0, 1), Headers("shop", Signal.TRACES, _RECEIVED_NS), b"\xff\xff")
    batch = decode(Read([poison, _record(1, [_GOOD])], ()), BodyMemory(100))
    assert batch.rows["trace_id"].to_pylist() == ["01" * 16]
    (letter,) = batch.letters
    assert RefusedInput.from_record(letter.body).body == b"\xff\xff"


def test_a_defect_of_the_decoder_costs_the_record_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the writer would end at that record each time, and nobody's spans would become readable any more."""
    decoder = tail.decode_records

    def with_a_defect(records: Sequence[Record], **given: Any) -> pa.Table:
        if any(record.position.offset == 0 for record in records):
            raise TypeError("unhashable type: 'list'")
        return decoder(records, **given)

    monkeypatch.setattr(tail, "decode_records", with_a_defect)
    batch = decode(Read([_record(0, [(b"\x05" * 16, b"\x06" * 8)]), _record(1, [_GOOD])], ()), BodyMemory(100))
    assert batch.rows["trace_id"].to_pylist() == ["01" * 16]
    (letter,) = batch.letters
    assert "unhashable" in letter.head.reason
    assert RefusedInput.from_record(letter.body).body


def test_what_was_not_decoded_is_tried_again_when_it_is_sent_again() -> None:
    """A dead letter that a mended release replays would be taken for a repetition, and be lost for good."""
    poison = Record(Position(0, 0, 1), Headers("shop", Signal.TRACES, _RECEIVED_NS), b"\xff\xff")
    known = BodyMemory(100)
    batch = decode(Read([poison, _record(1, [_GOOD])], ()), known)
    known.add(batch.bodies)
    again = decode(Read([poison, _record(1, [_GOOD])], ()), known)
    assert again.repeated == 1
    assert len(again.letters) == 1


_REFUSED = {"project": "shop", "signal": "traces", "received_ns": _RECEIVED_NS, "reason": "why", "spans": 1,
            "encoding": "application/json"}  # fmt: skip
_STORED = {"signal": "traces", "key": "records/shop/1", "size": 1, "checksum": "", "digest": "00"}


def _json(fields: dict[str, object], **others: object) -> bytes:
    return json.dumps(fields | others).encode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "body", "filed_under"),
    [
        pytest.param(("My Team", Signal.TRACES, _RECEIVED_NS), b"", "default", id="project with a blank"),
        pytest.param(("../../etc", Signal.TRACES, _RECEIVED_NS), b"\xff", "default", id="project that is a path"),
        pytest.param(("shop\ud800", Signal.LOGS, _RECEIVED_NS), b"\xff", "default", id="project of half a pair"),
        pytest.param(("shop", Signal.TRACES, 1 << 63), b"", "default", id="received after the end of time"),
        pytest.param(("a b", Signal.STORED, 0), _json(_STORED, key="records/a b/1"), "default", id="stored, nobody"),
        pytest.param(("shop", Signal.STORED, 0), _json(_STORED, key="records/shop/../1"), "shop", id="stored above"),
        pytest.param(("shop", Signal.REFUSED, 0), _json(_REFUSED, spans=1 << 70), "shop", id="refused, too many"),
        pytest.param(("shop", Signal.REFUSED, 0), _json(_REFUSED, received_ns="noon"), "shop", id="refused at noon"),
        pytest.param(("shop", Signal.REFUSED, 0), _json(_REFUSED, reason="\ud800"), "shop", id="refused, half a pair"),
        pytest.param(("shop", Signal.REFUSED, 0), _json(_REFUSED, reason=["x"]), "shop", id="refused, no text"),
    ],
)
async def test_headers_that_no_door_sets_cost_one_record(
    headers: tuple[str, Signal, int], body: bytes, filed_under: str
) -> None:
    """Whoever may write into the topic could stop the writer, and with it everybody's spans, by one record."""
    queue, storage, catalog = MemoryQueue(), MemoryStorage(), SqliteCatalog(":memory:")
    await queue.open()
    await catalog.open()
    await queue.append(Headers(*headers), body)
    await queue.append(Headers("shop", Signal.TRACES, _RECEIVED_NS), _record(1, [_GOOD]).body)
    batch = decode(await Tail(queue, storage, {}, offset_base=0).read(1 << 20), BodyMemory(100))
    assert batch.rows["trace_id"].to_pylist() == ["01" * 16]
    group = LiveGroup()
    group.absorb(batch)
    letters = await store_letters(group, storage)
    await catalog.commit(Commit(queue.queue_id, (), bodies=group.bodies, dead_letters=letters))
    assert [letter.project for letter in letters] == [filed_under]
    await catalog.aclose()
