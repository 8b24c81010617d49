"""Requests divided by whole spans: what is in the parts is what was in the request, once each, as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agenttrace_core.wire.proto_bytes import delimited, tag, varint
from agenttrace_core.wire.split import by_size, by_trace
from tests.unit.wire import otlp_oracle as oracle

_UNKNOWN = (
    varint(tag(4000, 0)) + b"\x07",
    varint(tag(4000, 1)) + b"12345678",
    varint(tag(4001, 2)) + b"\x05hello",
    varint(tag(4002, 5)) + b"1234",
    varint(tag(4003, 3)) + b"\x0b\x08\x01\x0c" + varint(tag(4001, 2)) + b"\x01x" + varint(tag(4003, 4)),
)
"""A field of each wire type that no version of OTLP has; the last is a group that holds a group."""

_unknown = st.lists(st.sampled_from(_UNKNOWN), max_size=2).map(b"".join)


@st.composite
def _traces(draw: st.DrawFn) -> ExportTraceServiceRequest:
    """A request of few traces, and with fields that nobody knows at every level."""
    request: Any = draw(oracle.trace_requests)
    few = [bytes([n]) * 16 for n in range(1, 6)]
    request.MergeFromString(draw(_unknown))
    for resource_spans in request.resource_spans:
        resource_spans.MergeFromString(draw(_unknown))
        for scope_spans in resource_spans.scope_spans:
            scope_spans.MergeFromString(draw(_unknown))
            for span in scope_spans.spans:
                span.trace_id = draw(st.sampled_from(few))
                span.MergeFromString(draw(_unknown))
    found: ExportTraceServiceRequest = request
    return found


def _items(request: Any, *, resources: str, scopes: str, items: str) -> Iterator[tuple[bytes, ...]]:
    """Each span or record, as bytes, behind what its scope and resource say without their children."""
    top = _without(request, resources)
    for resource in getattr(request, resources):
        outer = _without(resource, scopes)
        for scope in getattr(resource, scopes):
            inner = _without(scope, items)
            for item in getattr(scope, items):
                yield top, outer, inner, item.SerializeToString(deterministic=True)


def _without(message: Any, children: str) -> bytes:
    head = type(message).FromString(message.SerializeToString(deterministic=True))
    head.ClearField(children)
    data: bytes = head.SerializeToString(deterministic=True)
    return data


def _spans(body: bytes) -> list[tuple[bytes, ...]]:
    request = ExportTraceServiceRequest.FromString(body)
    return list(_items(request, resources="resource_spans", scopes="scope_spans", items="spans"))


def _records(body: bytes) -> list[tuple[bytes, ...]]:
    request = ExportLogsServiceRequest.FromString(body)
    return list(_items(request, resources="resource_logs", scopes="scope_logs", items="log_records"))


def _trace_ids(body: bytes) -> list[bytes]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span.trace_id for rs in request.resource_spans for ss in rs.scope_spans for span in ss.spans]


def _is_subsequence(part: Iterable[object], whole: Iterable[object]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


@given(_traces(), st.integers(1, 7))
@settings(deadline=None, max_examples=150)
def test_a_request_is_divided_by_trace(request_: ExportTraceServiceRequest, parts: int) -> None:
    """Lost: a span, what its resource says of it, or that one writer sees the whole of a trace."""
    body = request_.SerializeToString()
    divided = by_trace(body, parts)
    assert all(0 <= number < parts for number in divided)
    assert sorted(s for part in divided.values() for s in _spans(part)) == sorted(_spans(body))
    assert all(_is_subsequence(_spans(part), _spans(body)) for part in divided.values())
    ids = [id_ for part in divided.values() for id_ in set(_trace_ids(part))]
    assert len(ids) == len(set(ids)), "a trace is in two parts"
    if len(divided) == 1:
        assert next(iter(divided.values())) is body
    assert by_trace(body, parts) == divided


@given(_traces(), st.integers(0, 2000))
@settings(deadline=None, max_examples=150)
def test_a_request_is_divided_by_size(request_: ExportTraceServiceRequest, limit: int) -> None:
    """Lost: what a broker does not take in one record."""
    body = request_.SerializeToString()
    parts = by_size(body, limit)
    assert [span for part in parts for span in _spans(part)] == _spans(body)
    assert all(len(part) <= limit or len(_spans(part)) <= 1 for part in parts)
    assert by_size(body, limit) == parts
    assert by_size(body, len(body)) == [body]


@given(oracle.log_requests, st.integers(0, 2000))
@settings(deadline=None, max_examples=100)
def test_log_records_are_divided_by_size(request_: ExportLogsServiceRequest, limit: int) -> None:
    """Lost: the messages of a long conversation, which a broker does not take in one record."""
    body = request_.SerializeToString()
    parts = by_size(body, limit)
    assert [record for part in parts for record in _records(part)] == _records(body)
    assert all(len(part) <= limit or len(_records(part)) <= 1 for part in parts)


def _request(spans: int, *, name: str = "x" * 200) -> bytes:
    request: Any = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for n in range(1, spans + 1):
        scope.spans.add(trace_id=n.to_bytes(16, "big"), span_id=n.to_bytes(8, "big"), name=name)
    data: bytes = request.SerializeToString()
    return data


def test_parts_are_as_long_as_they_may_be() -> None:
    """Records of a few spans each would cost a broker, and a writer, many times what they need."""
    parts = by_size(_request(1000), 20_000)
    assert all(a + b > 20_000 for a, b in pairwise(len(part) for part in parts))


def test_traces_are_spread_evenly_and_for_good() -> None:
    """A trace that moved with a release would be in two partitions; all in one would leave three writers idle."""
    divided = by_trace(_request(4000), 4)
    assert all(900 < len(_spans(part)) < 1100 for part in divided.values())
    known = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3}
    numbers = {int.from_bytes(id_, "big"): number for number, part in divided.items() for id_ in _trace_ids(part)}
    assert {n: numbers[n] for n in known} == known


def test_fields_are_known_however_their_tags_are_written() -> None:
    """Taken for unknown, a span whose tag is longer than it must be would be in every part."""
    spans = [b"\x92\x00" + delimited(b"", b"\x0a\x10" + bytes([n]) * 16) for n in range(1, 5)]
    scope = b"\x92\x80\x00" + delimited(b"", b"".join(spans))
    body = b"\x8a\x00" + delimited(b"", scope)
    assert len(_spans(body)) == 4
    for parts in (list(by_trace(body, 3).values()), by_size(body, 0)):
        assert len(parts) > 1
        assert sorted(s for part in parts for s in _spans(part)) == sorted(_spans(body))


@pytest.mark.parametrize("body", [b"", ExportTraceServiceRequest(resource_spans=[{}]).SerializeToString()])
def test_a_request_without_spans_is_left_alone(body: bytes) -> None:
    """Nothing is lost of it, and no empty parts are made."""
    assert by_trace(body, 4) == {0: body}
    assert by_size(body, 100) == [body]
