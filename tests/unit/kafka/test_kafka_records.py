"""Records of Kafka: what others read in ours, and what we read in theirs."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agenttrace_adapters.kafka.batches import to_batch
from agenttrace_adapters.kafka.records import OVERHEAD_BYTES, Outgoing, to_record
from agenttrace_core.errors import CorruptionError
from agenttrace_core.ports.queue import Headers, Signal

_HEADERS = st.builds(
    Headers, st.text(max_size=40), st.sampled_from(Signal), st.integers(min_value=0, max_value=2**63 - 1)
)
_CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@given(st.lists(st.tuples(_HEADERS, st.binary(max_size=300)), min_size=1, max_size=5), st.sampled_from(_CODECS))
def test_what_is_put_into_a_batch_comes_out_of_it(records: list[tuple[Headers, bytes]], codec: str) -> None:
    """The batches are put together here; a reader of another language must find in them what was meant."""
    outgoing = [Outgoing(h, b * 20) for h, b in records]
    batch = to_batch(outgoing, codec=codec, producer=(7, 1), sequence=5)
    found = [to_record(r, 3, "default") for r in _read(batch)]
    assert [(r.headers, r.body) for r in found] == [(h, b * 20) for h, b in records]
    assert [r.position.offset for r in found] == list(range(len(records)))
    assert len(batch) <= sum(r.size for r in outgoing) + OVERHEAD_BYTES
    assert all(r.size <= len(b) * 20 + OVERHEAD_BYTES for r, (_, b) in zip(outgoing, records, strict=True))


@pytest.mark.parametrize("signal", [s for s in Signal if s is not Signal.TRACES])
@given(body=st.binary(max_size=5000))
def test_a_reader_of_traces_finds_no_spans_where_there_are_none(signal: Signal, body: bytes) -> None:
    """A Collector that reads the topic stops, or complains at each record, at what it cannot parse."""
    request = ExportTraceServiceRequest()
    request.ParseFromString(Outgoing(Headers("p", signal, 1), body).value)
    assert not request.resource_spans


def test_traces_are_kept_byte_for_byte() -> None:
    """A Collector must find the very request that was sent; copying it would cost the door as well."""
    body = b"\x0a\x00"
    assert Outgoing(Headers("p", Signal.TRACES, 1), body).value is body


def test_a_record_of_a_collector_is_traces_of_the_default_project() -> None:
    """It has none of our headers; what it was told by its own are others' affairs."""
    record = to_record(_found(b"\x0a\x00", [("content-type", b"x")], timestamp=1_700_000_000_123), 2, "shop")
    assert record.headers == Headers("shop", Signal.TRACES, 1_700_000_000_123_000_000)
    assert record.body == b"\x0a\x00"
    assert to_record(_found(None, [], timestamp=-1), 2, "shop").headers.received_ns == 0
    # What a producer took for milliseconds and are microseconds is no time in nanoseconds.
    assert to_record(_found(None, [], timestamp=1_700_000_000_123_456), 2, "shop").headers.received_ns == 0


@pytest.mark.parametrize(
    "headers",
    [
        [("agenttrace-signal", b"dreams")],
        [("agenttrace-received-ns", b"noon")],
        [("agenttrace-project", b"\xff\xfe")],
    ],
)
def test_headers_that_make_no_sense_cost_one_record(headers: list[tuple[str, bytes]]) -> None:
    """One record of a broken program must neither stop the partition nor be taken for what it is not."""
    with pytest.raises(CorruptionError) as caught:
        to_record(_found(b"body", headers), 2, "shop")
    assert caught.value.skip_to == 42


def test_a_body_beside_its_field_is_damage() -> None:
    """What is cut off must not be taken for whole."""
    value = Outgoing(Headers("p", Signal.LOGS, 1), b"body").value
    for cut in (value[:-1], value[:5]):
        with pytest.raises(CorruptionError):
            to_record(_found(cut, [("agenttrace-signal", b"logs")]), 2, "shop")


def _read(batch: bytes) -> list[ConsumerRecord]:
    """Read a batch as a consumer does, which checks its checksum."""
    stored = struct.pack(">q", 0) + batch[8:]
    place = TopicPartition("topic", 3)
    return list(PartitionRecords(place, MemoryRecords(stored), [], 0, None, None, check_crcs=True, isolation_level=1))


def _found(value: bytes | None, headers: list[tuple[str, bytes]], timestamp: int = 0) -> ConsumerRecord:
    return cast("Any", SimpleNamespace(offset=41, timestamp=timestamp, value=value, headers=headers))
