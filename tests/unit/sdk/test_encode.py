"""If these fail, what leaves the process is not what was recorded. OpenTelemetry's own encoder is the oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from agenttrace.encode import encode_span, rejected_of, traces_request, varint

_text = st.text(max_size=20)
_scalar = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _text
_value = _scalar | st.lists(_text, max_size=3).map(tuple) | st.lists(st.booleans(), max_size=3).map(tuple) | st.binary()
_attributes = st.dictionaries(_text, _value, max_size=4)
_times = st.integers(0, 2**63 - 1)
_contexts = st.builds(
    SpanContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans(),
    st.just(TraceFlags(1)), st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "2")])]),
)  # fmt: skip
_spans = st.builds(
    ReadableSpan,
    name=_text,
    context=_contexts,
    parent=st.none() | _contexts,
    resource=st.builds(Resource, _attributes, _text),
    attributes=_attributes,
    events=st.lists(st.builds(Event, _text, _attributes, _times), max_size=2),
    links=st.lists(st.builds(Link, _contexts, _attributes), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from(
        [Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why"), Status(StatusCode.ERROR)]
    ),
    start_time=_times,
    end_time=_times,
    instrumentation_scope=st.none() | st.builds(InstrumentationScope, _text, _text, _text, _attributes),
)


@settings(max_examples=150)
@given(st.lists(_spans, min_size=1, max_size=3))
def test_requests_say_what_opentelemetrys_exporter_says(spans: list[ReadableSpan]) -> None:
    groups: dict[Any, list[bytes]] = {}
    for span in spans:
        groups.setdefault((span.resource, span.instrumentation_scope), []).append(encode_span(span))
    ours = ExportTraceServiceRequest.FromString(traces_request(groups))
    theirs = encode_spans(spans)
    for resource in theirs.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                if not (span.status.code or span.status.message):
                    span.ClearField("status")  # an empty status and none say the same
    assert _flat(ours) == _flat(theirs)


def _flat(request: ExportTraceServiceRequest) -> list[tuple[bytes, ...]]:
    return sorted(
        (r.resource.SerializeToString(True), r.schema_url.encode(), s.scope.SerializeToString(True),
         s.schema_url.encode(), span.SerializeToString(True))
        for r in request.resource_spans for s in r.scope_spans for span in s.spans
    )  # fmt: skip


def _only(encoded: bytes) -> Any:
    (span,) = ScopeSpans.FromString(encoded).spans
    return span


def _span(**fields: Any) -> ReadableSpan:
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))
    return ReadableSpan(**({"name": "n", "context": context, "start_time": 5, "end_time": 7} | fields))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2**70, str(2**70)), (-(2**63) - 1, str(-(2**63) - 1)), ("a\ud800b", "a\\ud800b"),
        (object, "\"<class 'object'>\""),
    ],
)  # fmt: skip
def test_what_protobuf_cannot_hold_is_kept_as_text(value: Any, kept: str) -> None:
    span = _only(encode_span(_span(attributes={"odd": value, "even": 1})))
    assert {a.key: a.value.string_value for a in span.attributes} == {"odd": kept, "even": ""}


def test_names_with_half_a_surrogate_cost_nobody_anything() -> None:
    assert _only(encode_span(_span(name="x\udc00"))).name == "x\\udc00"


def test_a_running_span_has_no_end() -> None:
    span = _only(encode_span(_span(), {"agenttrace.span.state": "running"}, running=True))
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (5, 0)
    assert span.attributes[0].value.string_value == "running"


@given(st.integers(0, 2**64 - 1))
def test_varints_are_read_back(number: int) -> None:
    data = varint(number)
    assert sum((byte & 127) << (7 * i) for i, byte in enumerate(data)) == number
    assert [byte >= 128 for byte in data] == [True] * (len(data) - 1) + [False]


@given(st.integers(1, 2**31), _text)
def test_rejections_are_read_from_the_response(rejected: int, reason: str) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = reason[:10]
    data = response.SerializeToString()
    assert rejected_of(data) == rejected
    assert rejected_of(b"") == rejected_of(b"\xff\xff") == 0
