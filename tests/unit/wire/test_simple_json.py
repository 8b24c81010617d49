"""Plain JSON traces, as a person with curl would send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire.json_read import JsonTraces
from agenttrace_core.wire.simple import Form, sniff, traces_from_any_json, traces_from_simple_json

NOW = 1_795_485_600_000_000_000

Json = dict[str, Any]


def read(document: Any) -> JsonTraces:
    return traces_from_simple_json(json.dumps(document).encode(), now_ns=NOW)


def spans_of(traces: JsonTraces) -> list[Any]:
    request = ExportTraceServiceRequest.FromString(traces.body)
    return [span for rs in request.resource_spans for ss in rs.scope_spans for span in ss.spans]


def attributes_of(document: Json) -> Json:
    traces = read({"name": "n"} | document)
    assert traces.refused == ()
    (span,) = spans_of(traces)
    values = {a.key: MessageToDict(a.value) for a in span.attributes}
    return {key: next(iter(value.values()), None) for key, value in values.items()}


def test_a_name_is_enough() -> None:
    """Lost: the first thing that a newcomer tries."""
    traces = read({"name": "hello"})
    (span,) = spans_of(traces)
    assert (span.name, span.kind, traces.spans) == ("hello", 1, 1)
    assert span.start_time_unix_nano == span.end_time_unix_nano == NOW
    assert traces.trace_ids == (span.trace_id.hex(),)
    assert any(span.trace_id)
    assert any(span.span_id)


def test_children_make_one_trace() -> None:
    """Lost: the tree, which is what a trace is for."""
    child = {"name": "child", "duration_ms": 5, "children": [{"name": "grandchild"}]}
    traces = read([{"name": "root", "start": NOW, "duration_ms": 1.5, "children": [child]}, {"name": "other root"}])
    root, child_span, grandchild, other = spans_of(traces)
    assert len(traces.trace_ids) == 1
    assert {span.trace_id for span in (root, child_span, grandchild, other)} == {root.trace_id}
    assert (root.parent_span_id, child_span.parent_span_id) == (b"", root.span_id)
    assert (grandchild.parent_span_id, other.parent_span_id) == (child_span.span_id, b"")
    assert root.end_time_unix_nano == NOW + 1_500_000
    assert (child_span.start_time_unix_nano, child_span.end_time_unix_nano) == (NOW, NOW + 5_000_000)


def test_children_are_read_at_any_depth() -> None:
    """Lost: the process, to recursion."""
    body = b'{"name":"n","children":[' * 5000 + b'{"name":"leaf"}' + b"]}" * 5000
    assert traces_from_simple_json(body).spans == 5001


def test_what_stands_beside_spans_holds_for_all() -> None:
    """Lost: the service and session of spans that do not repeat them."""
    traces = read(
        {
            "service": "shop", "session_id": "s", "trace_id": "ab" * 16,
            "spans": [{"name": "a", "children": [{"name": "b", "user_id": "u"}]}, {"name": "c", "service": "other"}],
        }
    )  # fmt: skip
    assert traces.trace_ids == ("ab" * 16,)
    request = ExportTraceServiceRequest.FromString(traces.body)
    services = {
        rs.resource.attributes[0].value.string_value: [s.name for ss in rs.scope_spans for s in ss.spans]
        for rs in request.resource_spans
    }
    assert services == {"shop": ["a", "b"], "other": ["c"]}
    a, b, c = ({x.key: x.value.string_value for x in s.attributes} for s in spans_of(traces))
    assert a == {"session.id": "s"} == c
    assert b == {"session.id": "s", "user.id": "u"}


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        ({"start": "2026-11-24T02:00:00Z", "end": "2026-11-24T03:00:00.5+01:00"}, NOW, NOW + 500_000_000),
        ({"start": "2026-11-24T02:00:00.123456789Z", "duration_ms": 0}, NOW + 123_456_789, NOW + 123_456_789),
        ({"end": NOW, "duration_ms": 2}, NOW - 2_000_000, NOW),
        ({"end": NOW}, NOW, NOW),
        ({"start": NOW - 5}, NOW - 5, 0),
        ({"duration_ms": 3}, NOW - 3_000_000, NOW),
    ],
)
def test_times(times: Json, start: int, end: int) -> None:
    """Lost: a nanosecond, a time zone, or that a span is not over yet (end 0)."""
    (span,) = spans_of(read({"name": "n"} | times))
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (start, end)


def test_attributes_are_any_json() -> None:
    """Lost: the type or structure of what a person wrote down."""
    sent = {"t": "x", "b": True, "i": 7, "big": 2**70, "f": 0.5, "n": None, "l": [1, {"k": []}]}
    assert attributes_of({"attributes": sent}) == {
        "t": "x", "b": True, "i": "7", "big": 1.1805916207174113e21, "f": 0.5, "n": None,
        "l": {"values": [{"intValue": "1"}, {"kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {}}}]}}]},
    }  # fmt: skip


def test_names_of_rows_become_canonical_attributes() -> None:
    """Lost: model, tokens and agent of such spans in every list and sum."""
    assert attributes_of(
        {"operation": "chat", "provider": "p", "model": "m", "agent": "a", "input_tokens": 3, "output_tokens": 4}
    ) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "p", "gen_ai.request.model": "m",
        "gen_ai.agent.name": "a", "gen_ai.usage.input_tokens": "3", "gen_ai.usage.output_tokens": "4",
    }  # fmt: skip
    told = {"environment": "e", "prompt": "p", "prompt_version": "2"}
    more = {"cost_usd": 0.5, "tags": ["a"], "cache_read_tokens": 1, **told}
    assert attributes_of(more) == {
        "gen_ai.usage.cost": 0.5, "agenttrace.tags": {"values": [{"stringValue": "a"}]},
        "deployment.environment.name": "e", "gen_ai.prompt.name": "p", "gen_ai.prompt.version": "2",
        "gen_ai.usage.cache_read.input_tokens": "1",
    }  # fmt: skip


def test_input_and_output_go_where_their_kind_of_span_has_them() -> None:
    """Lost: what went in and came out, from where it is looked for."""
    chat = attributes_of({"model": "m", "input": "hi", "output": [{"role": "assistant", "parts": []}]})
    assert json.loads(chat["gen_ai.input.messages"]) == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
    assert json.loads(chat["gen_ai.output.messages"]) == [{"role": "assistant", "parts": []}]
    tool = attributes_of({"operation": "execute_tool", "tool": "t", "input": {"q": 1}, "output": "found"})
    assert tool["gen_ai.tool.call.arguments"] == '{"q":1}'
    assert tool["gen_ai.tool.call.result"] == "found"
    plain = attributes_of({"input": "question", "output": [1, 2]})
    assert plain == {
        "input.value": "question", "input.mime_type": "text/plain",
        "output.value": "[1,2]", "output.mime_type": "application/json",
    }  # fmt: skip


def test_errors_events_and_status() -> None:
    """Lost: what went wrong, and when."""
    event = {"name": "retry", "time": "2026-11-24T02:00:01Z", "attributes": {"n": 1}}
    (span,) = spans_of(read({"name": "n", "error": {"type": "T", "message": "m"}, "start": NOW, "events": [event]}))
    assert (span.status.code, span.status.message, span.attributes[0].key) == (2, "m", "error.type")
    assert (span.events[0].name, span.events[0].time_unix_nano) == ("retry", NOW + 10**9)
    (span,) = spans_of(read({"name": "n", "status": "ok", "kind": "client"}))
    assert (span.status.code, span.kind) == (1, 3)
    (span,) = spans_of(read({"name": "n", "error": "timeout"}))
    assert (span.status.code, span.status.message) == (2, "timeout")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"name": "n", "strat": 1}, "there is no such field; did you mean 'start'?"),
        ({"name": "n", "zzz": 1}, "put what is your own under 'attributes'"),
        ({}, "name: missing"),
        ({"name": "n", "start": 1_795_485_600}, "is not a count of nanoseconds since 1970"),
        ({"name": "n", "start": "yesterday"}, 'start: "yesterday" is not RFC 3339'),
        ({"name": "n", "start": "2026-13-24T02:00:00Z"}, "is not a time"),
        ({"name": "n", "start": NOW, "end": NOW, "duration_ms": 1}, "give two of start, end and duration_ms"),
        ({"name": "n", "duration_ms": -1}, "duration_ms: -1 is not a number of milliseconds"),
        ({"name": "n", "kind": "llm"}, 'kind: "llm" is not one of internal, server, client, producer, consumer'),
        ({"name": "n", "status": "ok", "error": "e"}, "the status is 'ok', and there is an error"),
        ({"name": "n", "input_tokens": "7"}, 'input_tokens: "7" is not a count'),
        ({"name": "n", "cost_usd": "1"}, 'cost_usd: "1" is not a number of dollars'),
        ({"name": "n", "tags": "a"}, 'tags: "a" is not an array of texts'),
        ({"name": "n", "operation": {}}, "operation: an object is not text"),
        ({"name": "n", "attributes": []}, "attributes: an array is not an object"),
        ({"name": "n", "events": [{"name": "e", "tme": 1}]}, "events[0].tme: there is no such field"),
        ({"name": "n", "children": {}}, "children: an object is not an array"),
        ({"name": "n", "span_id": "xyz"}, 'span_id: "xyz" is not 16 hex digits'),
        ({"name": "n", "span_id": 7}, "span_id: 7 is not 16 hex digits"),
        ({"name": "n", "trace_id": "xyz"}, 'trace_id: "xyz" is not 32 hex digits'),
        ({"name": "n", "parent_span_id": "xyz"}, 'parent_span_id: "xyz" is not 16 hex digits'),
        (7, "7 is not an object"),
    ],
)
def test_a_mistake_is_told_and_costs_one_span(bad: Any, reason: str) -> None:
    """Lost: the good spans beside it, or what to change."""
    traces = read({"spans": [{"name": "good"}, bad, {"name": "good", "children": [bad]}]})
    assert [span.name for span in spans_of(traces)] == ["good", "good"]
    first, second = traces.refused
    assert first.reason.startswith("spans[1]")
    assert second.reason.startswith("spans[2].children[0]")
    assert reason in first.reason
    assert json.loads(first.item_json) in (bad, {"name": "n"})


def test_children_of_a_refused_span_are_kept() -> None:
    """Lost: what is right below something wrong."""
    traces = read({"name": "n", "oops": 1, "children": [{"name": "child"}]})
    assert [span.name for span in spans_of(traces)] == ["child"]
    assert json.loads(traces.refused[0].item_json) == {"name": "n", "oops": 1}


def test_a_body_that_is_neither_form_shows_the_least_that_would_do() -> None:
    """Lost: a newcomer after the first mistake."""
    for body in (b"1", b'{"spans": 3}', b'{"foo": 1}', b'"x"', b"null"):
        with pytest.raises(InvalidInputError, match="the least of those is"):
            traces_from_any_json(body)
    with pytest.raises(InvalidInputError, match="did you mean 'service'"):
        traces_from_any_json(b'{"spans": [], "sevice": "x"}')


def test_otlp_and_the_simple_form_are_told_apart() -> None:
    """Lost: one of the two forms on the API's one door."""
    otlp = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab" * 16, "spanId": "cd" * 8}]}]}]}
    assert sniff(otlp) is Form.OTLP
    assert sniff({}) is Form.OTLP
    assert sniff({"batches": []}) is Form.OTLP
    for simple in ({"name": "n"}, {"spans": []}, [], [{"name": "n"}]):
        assert sniff(simple) is Form.SIMPLE
    assert traces_from_any_json(json.dumps(otlp).encode()).spans == 1
    assert traces_from_any_json(b'{"name": "n"}', now_ns=NOW).spans == 1
