"""OTLP/JSON as it should not be sent, and as it is sent all the same."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire import json_text
from agenttrace_core.wire.json_read import JsonTraces, traces_from_json
from agenttrace_core.wire.json_text import dumps
from agenttrace_core.wire.json_write import span_json
from agenttrace_core.wire.logs import logs_from_json, select_genai_events
from agenttrace_core.wire.proto_bytes import fields
from agenttrace_core.wire.simple import traces_from_any_json, traces_from_simple_json

TRACE_ID = "0AF7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7AD6b7169203331"

Json = dict[str, Any]


def span(**changes: Any) -> Json:
    return {"traceId": TRACE_ID, "spanId": SPAN_ID, "name": "a"} | changes


def body_of(*spans: Any) -> bytes:
    return dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]})


def stored(read: JsonTraces) -> list[Json]:
    """The accepted spans of a request with one resource and scope, as they are shown again."""
    if not read.body:
        return []
    ((_, resource_spans),) = fields(read.body)
    scope_spans = next(value for tag, value in fields(resource_spans) if tag == 0x12)
    return [span_json(value) for tag, value in fields(scope_spans) if tag == 0x12]


def read_one(**changes: Any) -> Json:
    read = traces_from_json(body_of(span(**changes)))
    assert read.refused == ()
    (shown,) = stored(read)
    return shown


def read_value(value: Any) -> Any:
    return read_one(attributes=[{"key": "k", "value": value}])["attributes"][0]["value"]


def test_names_of_the_proto_files_and_nulls_and_unknown_fields() -> None:
    """Lost: senders whose JSON library writes snake_case or explicit nulls, or whose OTLP is newer than ours."""
    document = {
        "future": 1,
        "resource_spans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"string_value": "s"}}], "future": {}},
                "schema_url": None,
                "scope_spans": [
                    {
                        "scope": None,
                        "spans": [
                            {
                                "trace_id": TRACE_ID, "span_id": SPAN_ID, "parent_span_id": None, "future": [1],
                                "start_time_unix_nano": "7", "status": {"code": 2, "future": 1},
                                "events": [{"time_unix_nano": 1, "dropped_attributes_count": 3}],
                                "attributes": [{"key": "k", "value": {"int_value": 5, "futureValue": {}}, "keyX": 1}],
                            }
                        ],
                    }
                ],
            }
        ],
    }  # fmt: skip
    read = traces_from_json(json.dumps(document).encode())
    assert read.refused == ()
    assert stored(read) == [
        {
            "traceId": TRACE_ID.lower(), "spanId": SPAN_ID.lower(), "startTimeUnixNano": "7", "status": {"code": 2},
            "events": [{"timeUnixNano": "1", "droppedAttributesCount": 3}],
            "attributes": [{"key": "k", "value": {"intValue": "5"}}],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"intValue": 9007199254740993}, {"intValue": "9007199254740993"}),
        ({"intValue": "-9223372036854775808"}, {"intValue": "-9223372036854775808"}),
        ({"intValue": -9223372036854775808}, {"intValue": "-9223372036854775808"}),
        ({"intValue": 3.0}, {"intValue": "3"}),
        ({"intValue": "1e3"}, {"intValue": "1000"}),
        ({"doubleValue": 5}, {"doubleValue": 5.0}),
        ({"doubleValue": "1.5"}, {"doubleValue": 1.5}),
        ({"doubleValue": "-Infinity"}, {"doubleValue": "-Infinity"}),
        ({"doubleValue": "NaN"}, {"doubleValue": "NaN"}),
        ({"bytesValue": "-_8"}, {"bytesValue": "+/8="}),
        ({"boolValue": False}, {"boolValue": False}),
        ({"stringValue": ""}, {"stringValue": ""}),
        ({"stringValue": "a\x00b"}, {"stringValue": "a\x00b"}),
        ({"stringValue": "x\ud800y"}, {"stringValue": "x\ud800y"}),
        ({"arrayValue": {}}, {"arrayValue": {"values": []}}),
        ({"arrayValue": {"values": [None, {}]}}, {"arrayValue": {"values": [{}, {}]}}),
        ({"kvlistValue": {"values": [{"key": "", "value": None}]}}, {"kvlistValue": {"values": [{"key": ""}]}}),
        ({"stringValue": None, "intValue": 1}, {"intValue": "1"}),
        ({}, {}),
    ],
)
def test_values_are_kept_exactly(sent: Json, kept: Json) -> None:
    """Lost: the exact number, text or bytes of an attribute, in one of the forms that JSON gives it."""
    assert read_value(sent) == kept


def test_a_double_keeps_all_its_bits() -> None:
    """Lost: the last digit of a cost."""
    for value in (0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308):
        shown = read_value({"doubleValue": value})["doubleValue"]
        assert struct.pack("<d", shown) == struct.pack("<d", value)


def test_empty_and_repeated_keys_stay_in_order() -> None:
    """Lost: attributes that a map would fold into one."""
    keys = ["b", "", "a", "", "b"]
    sent = [{"key": key, "value": {"intValue": str(i)}} for i, key in enumerate(keys)]
    assert read_one(attributes=sent)["attributes"] == sent


def test_enum_values_by_name_and_number_and_unknown_number() -> None:
    """Lost: spans of exporters that print enum names, and of those with a kind that is yet to come."""
    assert read_one(kind="SPAN_KIND_CONSUMER", status={"code": "STATUS_CODE_ERROR"})["kind"] == 5
    assert read_one(kind="3")["kind"] == 3
    assert read_one(kind=77)["kind"] == 77


def test_an_id_in_base64_is_read_and_shown_as_hex() -> None:
    """Lost: traces exported with protobuf's own JSON, whose ids would otherwise be refused."""
    shown = read_one(traceId="PHL1gt1FhyAgcA3641rvnQ==", spanId="TWf61QGIn9I=", parentSpanId="EwRDCPEtt08=")
    assert shown["traceId"] == "3c72f582dd45872020700dfae35aef9d"
    assert shown["spanId"] == "4d67fad501889fd2"
    assert shown["parentSpanId"] == "13044308f12db74f"


def test_a_parent_of_wrong_length_or_of_zeros_does_not_cost_the_span() -> None:
    """Lost: spans that can be found by their own ids."""
    assert read_one(parentSpanId="")["parentSpanId"] == ""
    assert read_one(parentSpanId="0" * 16)["parentSpanId"] == "0" * 16
    assert read_one(parentSpanId="abcd")["parentSpanId"] == "abcd"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (span(traceId="abc"), 'traceId: "abc" is not 32 hex digits'),
        (span(traceId="0" * 32), "traceId: 32 zeros are not a valid id"),
        (span(traceId=" " + TRACE_ID[1:]), "is not 32 hex digits"),
        (span(traceId=None), "traceId: missing; 32 hex digits are wanted"),
        ({"traceId": TRACE_ID}, "spanId: missing; 16 hex digits are wanted"),
        (span(spanId=SPAN_ID + "00"), "is not 16 hex digits"),
        (span(spanId={"data": [1]}), "spanId: an object is not 16 hex digits"),
        (span(parentSpanId="none"), 'parentSpanId: "none" is not 16 hex digits'),
        (span(name=7), "name: 7 is not text"),
        (span(startTimeUnixNano=-1), "startTimeUnixNano: -1 is not within 0 and 18446744073709551615"),
        (span(endTimeUnixNano=2**64), "endTimeUnixNano: 1.8446744073709552e+19 is not an integer within 0 and"),
        (span(endTimeUnixNano="1.5"), 'endTimeUnixNano: "1.5" is not an integer'),
        (span(startTimeUnixNano=True), "startTimeUnixNano: true is not an integer"),
        (span(kind="SERVER"), 'kind: "SERVER" is not a number or one of SPAN_KIND_UNSPECIFIED, SPAN_KIND_INTERNAL'),
        (span(flags=2**32), "flags: 4294967296 is not within 0 and 4294967295"),
        (span(attributes={"a": 1}), "attributes: an object is not an array"),
        (span(attributes=[{"key": 1}]), "attributes[0].key: 1 is not text"),
        (
            span(attributes=[{"key": "a"}, {"key": "b", "value": {"intValue": "x"}}]),
            'attributes[1].value.intValue: "x" is not an integer',
        ),
        (
            span(attributes=[{"key": "a", "value": {"intValue": -(2**63) - 1}}]),
            "attributes[0].value.intValue: -9.223372036854776e+18 is not an integer within -9223372036854775808 and",
        ),
        (
            span(events=[{}, {"attributes": [{"key": "a", "value": {"arrayValue": {"values": [{"boolValue": 1}]}}}]}]),
            "events[1].attributes[0].value.arrayValue.values[0].boolValue: 1 is not true or false",
        ),
        (span(attributes=[{"key": "a", "value": {"bytesValue": "?"}}]), 'bytesValue: "?" is not base64'),
        (span(attributes=[{"key": "a", "value": "text"}]), 'attributes[0].value: "text" is not an object'),
        (span(links=[{"traceId": "xyz"}]), 'links[0].traceId: "xyz" is not 32 hex digits'),
        ("a span", '"a span" is not an object'),
        (None, "null is not an object"),
    ],
)
def test_a_bad_span_is_refused_alone_with_the_path_of_what_is_wrong(bad: Any, reason: str) -> None:
    """Lost: its neighbours, or the sender's chance to find the mistake."""
    read = traces_from_json(body_of(span(name="before"), bad, span(name="after")))
    assert [shown["name"] for shown in stored(read)] == ["before", "after"]
    (refusal,) = read.refused
    assert refusal.reason.startswith("resourceSpans[0].scopeSpans[0].spans[1]")
    assert reason in refusal.reason
    assert json_text.loads(refusal.item_json) == json_text.loads(dumps(bad))


def test_a_bad_resource_costs_its_own_spans_only() -> None:
    """Lost: the spans of other services in the same request."""
    good = {"scopeSpans": [{"spans": [span()]}]}
    bad = {"resource": {"attributes": 5}, "scopeSpans": [{"spans": [span(), span()]}]}
    read = traces_from_json(dumps({"resourceSpans": [good, bad, good]}))
    assert read.spans == 2
    assert {refusal.reason for refusal in read.refused} == {"resourceSpans[1].resource.attributes: 5 is not an array"}
    assert len(read.refused) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1, 2", "not JSON"),
        (b"\x0a\x05hello", "not JSON"),
        (b"[]", "the body: an array is not an object with 'resourceSpans'"),
        (b'{"resourceSpans": {}}', "resourceSpans: an object is not an array"),
        (b'{"resourceSpans": [5]}', "resourceSpans[0]: 5 is not an object"),
        (b'{"resourceSpans": [{"scopeSpans": 1}]}', "resourceSpans[0].scopeSpans: 1 is not an array"),
        (b'{"resourceSpans": [{"scopeSpans": [{}, {"spans": ""}]}]}', 'scopeSpans[1].spans: "" is not an array'),
        (b'{"resourceSpans": ' + b"9" * 5000 + b"}", "not"),
    ],
)
def test_a_body_that_is_no_request_says_where(body: bytes, reason: str) -> None:
    """Lost: the place of a mistake in a body of megabytes."""
    with pytest.raises(InvalidInputError) as caught:
        traces_from_json(body)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


def test_an_empty_request_is_a_request() -> None:
    """Lost: senders that probe the door with nothing."""
    for body in (b"{}", b'{"resourceSpans": []}', b'{"resourceSpans": null}', b'{"other": 1}'):
        assert traces_from_json(body) == JsonTraces(b"", 0, ())


def nested(depth: int, leaf: Json) -> Json:
    value = leaf
    for level in range(depth):
        if level % 2:
            value = {"arrayValue": {"values": [value]}}
        else:
            value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    return value


def test_attributes_5000_deep_are_stored_and_shown_again() -> None:
    """Lost: the process (a stack that overflows), or the span."""
    text = "x" * 1_000_000
    body = body_of(span(attributes=[{"key": "deep", "value": nested(5000, {"stringValue": text})}]), span())
    started = time.process_time()
    read = traces_from_json(body)
    assert (read.spans, read.refused) == (2, ())
    again = traces_from_json(body_of(*stored(read)))
    assert again.body == read.body
    assert time.process_time() - started < 5  # a copy a level would be 10 GB
    assert text.encode() in read.body


def test_something_wrong_5000_deep_is_told_in_a_line() -> None:
    """Lost: the process, or a readable reason."""
    read = traces_from_json(body_of(span(attributes=[{"key": "deep", "value": nested(5000, {"intValue": "x"})}])))
    (refusal,) = read.refused
    assert refusal.reason.endswith('intValue: "x" is not an integer')
    assert len(refusal.reason) < 1000
    assert len(refusal.item_json) > 5000


def test_a_bomb_of_brackets_is_refused() -> None:
    """Lost: the memory of the door."""
    with pytest.raises(InvalidInputError, match="deeper than 100,000"):
        traces_from_json(b'{"resourceSpans": ' + b"[" * 5_000_000)


def test_bad_utf8_costs_only_itself() -> None:
    """Lost: a request with one bad byte in one value."""
    body = body_of(span(name="a?b"), span()).replace(b"a?b", b"a\xffb")
    assert [shown["name"] for shown in stored(traces_from_json(body))] == ["a\ufffdb", "a"]


def test_python_senders_nan_is_read() -> None:
    """Lost: senders whose JSON library writes NaN bare."""
    body = body_of(span(attributes=[{"key": "k", "value": {"doubleValue": "?"}}])).replace(b'"?"', b"NaN")
    (shown,) = stored(traces_from_json(body))
    assert math.isnan(float(shown["attributes"][0]["value"]["doubleValue"]))


_READERS: list[Callable[[bytes], object]] = [
    traces_from_json, traces_from_simple_json, traces_from_any_json, logs_from_json, select_genai_events,
]  # fmt: skip

_words = st.sampled_from(
    ["resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "attributes", "key", "value", "stringValue",
     "arrayValue", "kvlistValue", "values", "events", "links", "status", "code", "kind", "resourceLogs", "scopeLogs",
     "logRecords", "body", "intValue", "name", "start", "end", "duration_ms", "children", "input", "error", "resource",
     "operation", "model", "service", "span_id", "trace_id", TRACE_ID, SPAN_ID, "chat", "ok"]
)  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.text(max_size=3), inner, max_size=5),
    max_leaves=20,
)


def _wrapped(leaf: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(
        [
            leaf,
            {"spans": [leaf]},
            {"spans": [{"name": "n", "attributes": {"a": leaf}, "children": [leaf]}]},
            {"resourceSpans": [{"scopeSpans": [{"spans": [leaf]}]}]},
            {"resourceSpans": [{"resource": leaf, "scopeSpans": [{"scope": leaf, "spans": [span(events=leaf)]}]}]},
            {"resourceSpans": [{"scopeSpans": [{"spans": [span(attributes=[{"key": "k", "value": leaf}])]}]}]},
            {"resourceLogs": [{"scopeLogs": [{"logRecords": [leaf, {"body": leaf}]}]}]},
        ]
    )


@given(_json.flatmap(_wrapped))
@settings(deadline=None, max_examples=150)
def test_arbitrary_json_is_read_or_refused(document: Any) -> None:
    """Lost: the door, to an exception that nobody foresaw."""
    body = json.dumps(document).encode()
    for read in _READERS:
        with contextlib.suppress(InvalidInputError):
            assert read(body) is not None


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: b'{"spans":[' + b))
@settings(deadline=None, max_examples=200)
def test_arbitrary_bytes_are_read_or_refused(body: bytes) -> None:
    """Lost: the door, to an exception that nobody foresaw."""
    for read in _READERS:
        with contextlib.suppress(InvalidInputError):
            assert read(body) is not None
