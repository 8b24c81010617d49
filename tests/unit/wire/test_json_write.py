"""Stored protobuf as OTLP/JSON, where it is odd or damaged."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agenttrace_core.errors import CorruptionError
from agenttrace_core.schema.tables import PAYLOAD
from agenttrace_core.wire import json_text
from agenttrace_core.wire.json_read import traces_from_json
from agenttrace_core.wire.json_write import attributes_json, resource_json, scope_json, span_json, trace_json


def _span(**fields: Any) -> Span:
    return Span(trace_id=b"t" * 16, span_id=b"s" * 8, **fields)


def _with_value(value: bytes) -> bytes:
    """A span with one attribute, whose ``AnyValue`` is these bytes (fewer than 100)."""
    pair = b"\x0a\x01k\x12" + bytes([len(value)]) + value
    return _span().SerializeToString() + b"\x4a" + bytes([len(pair)]) + pair


def _table(rows: list[tuple[bytes | None, ...]]) -> pa.Table:
    columns = [[row[i] for row in rows] for i in range(len(PAYLOAD))]
    return pa.table(dict(zip(PAYLOAD.names, columns, strict=True)), schema=PAYLOAD)


@pytest.mark.parametrize("size", [0, 1, *range(123, 131), *range(4090, 4100), *range(16377, 16390), 2_097_155])
def test_texts_of_every_length_are_read_and_written(size: int) -> None:
    """Lost: an attribute whose length is where one more byte tells it."""
    span = _span()
    span.attributes.add(key="k").value.string_value = "x" * size
    shown = span_json(span.SerializeToString())
    assert shown["attributes"] == [{"key": "k", "value": {"stringValue": "x" * size}}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [shown]}]}]}).encode()
    assert span.SerializeToString() in traces_from_json(body).body


@pytest.mark.parametrize("number", [0, 1, -1, 127, 128, 2**31, -(2**63), 2**63 - 1])
def test_integers_of_every_length_are_written(number: int) -> None:
    """Lost: the sign or the high bits of a number."""
    span = _span()
    span.attributes.add(key="k").value.int_value = number
    assert attributes_json(span.SerializeToString()) == [{"key": "k", "value": {"intValue": str(number)}}]


def test_bad_utf8_is_replaced_and_surrogates_are_kept() -> None:
    """Lost: the rest of a text with one bad byte, or half of a character that a sender cut in two."""
    raw = _with_value(b"\x0a\x09ok\xff\xed\xa0\x80\xc3\xa4!")
    shown = span_json(raw)
    assert shown["attributes"][0]["value"] == {"stringValue": "ok\ufffd\ud800ä!"}
    assert json.loads(json_text.dumps(shown)) == shown


def test_unknown_fields_are_passed_over() -> None:
    """Lost: spans of a newer OTLP, groups among their fields."""
    unknown = b"\xf8\x06\x01" + b"\xfb\x06\x0a\x01x\xfc\x06" + b"\xfd\x06abcd" + b"\xf9\x06abcdefgh"
    assert span_json(_span(name="n").SerializeToString() + unknown) == {
        "traceId": (b"t" * 16).hex(), "spanId": (b"s" * 8).hex(), "name": "n",
    }  # fmt: skip


def test_a_nested_value_that_is_no_protobuf_is_shown_as_bytes() -> None:
    """Lost: the span, whose other values are sound (a door does not look into nested values)."""
    assert span_json(_with_value(b"\x2a\x03\x0a\x7fx"))["attributes"][0]["value"] == {"bytesValue": "Cn94"}
    deeper = b"\x2a\x07\x0a\x05\x32\x03\x0a\x01\xff"
    assert list(span_json(_with_value(deeper))["attributes"][0]["value"]) == ["bytesValue"]


def test_of_two_values_in_one_the_last_counts() -> None:
    """Lost: agreement with every protobuf reader on a value that was set twice."""
    assert span_json(_with_value(b"\x10\x01\x0a\x01x"))["attributes"][0]["value"] == {"stringValue": "x"}
    in_array = b"\x2a\x07\x0a\x05\x0a\x01x\x18\x05"
    assert span_json(_with_value(in_array))["attributes"][0]["value"] == {"arrayValue": {"values": [{"intValue": "5"}]}}


def test_nothing_is_an_empty_object() -> None:
    """Lost: spans without a resource or scope."""
    assert resource_json(None) == scope_json(None) == resource_json(b"") == {}


def test_a_trace_is_grouped_by_resource_and_scope_with_their_schemas() -> None:
    """Lost: which service and instrumentation a span came from, and what its attributes' names mean."""
    service = b"\x0a\x15\x0a\x0cservice.name\x12\x05\x0a\x03one"
    spans = [_span(name=name).SerializeToString() for name in "abcde"]
    rows: list[tuple[bytes | None, ...]] = [
        (spans[0], service, b"u1", b"\x0a\x01s", b"v"),
        (spans[1], None, None, None, None),
        (spans[2], service, b"u1", b"\x0a\x01s", b"v"),
        (spans[3], service, b"u1", b"\x0a\x01z", b""),
        (spans[4], service, b"u2", b"\x0a\x01s", b"v"),
    ]
    groups = json.loads(trace_json(_table(rows)))["resourceSpans"]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "one"}}]}

    def shown(*names: str) -> list[dict[str, str]]:
        ids = {"traceId": (b"t" * 16).hex(), "spanId": (b"s" * 8).hex()}
        return [ids | {"name": name} for name in names]

    assert groups == [
        {
            "resource": resource, "schemaUrl": "u1",
            "scopeSpans": [
                {"scope": {"name": "s"}, "schemaUrl": "v", "spans": shown("a", "c")},
                {"scope": {"name": "z"}, "spans": shown("d")},
            ],
        },
        {"scopeSpans": [{"spans": shown("b")}]},
        {
            "resource": resource, "schemaUrl": "u2",
            "scopeSpans": [{"scope": {"name": "s"}, "schemaUrl": "v", "spans": shown("e")}],
        },
    ]  # fmt: skip
    assert json.loads(trace_json(_table([]))) == {"resourceSpans": []}


def test_stored_bytes_that_are_no_span_say_so() -> None:
    """Lost: the difference between a damaged file and a bad request."""
    raw = _span(name="name").SerializeToString()
    for read in (span_json, attributes_json, resource_json, scope_json):
        with pytest.raises(CorruptionError, match="stored bytes are not a"):
            read(raw[:-1])


_rich = _span(name="n", kind=2, start_time_unix_nano=5, flags=7)
_rich.attributes.add(key="text").value.string_value = "value"
_rich.attributes.add(key="int").value.int_value = 300
_rich.attributes.add(key="real").value.double_value = 0.5
_rich.attributes.add(key="list").value.array_value.values.add().string_value = "x"
_rich.events.add(name="e").attributes.add(key="k").value.bool_value = True


@given(st.lists(st.tuples(st.integers(0, _rich.ByteSize() - 1), st.integers(0, 255)), max_size=4), st.integers(0, 200))
@settings(deadline=None, max_examples=300)
def test_damaged_spans_are_shown_or_told(changes: list[tuple[int, int]], cut: int) -> None:
    """Lost: the query process, to an exception that nobody foresaw."""
    raw = bytearray(_rich.SerializeToString())
    for at, byte in changes:
        raw[at] = byte
    with contextlib.suppress(CorruptionError):
        assert json.loads(json_text.dumps(span_json(bytes(raw[: len(raw) - cut])))) is not None
