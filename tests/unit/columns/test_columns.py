"""Requests into light rows. If these fail, lists and trees show something else than was sent."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import zstandard

from agenttrace_core.model.span import Quality
from agenttrace_core.ports.queue import Headers, Position, Record, Signal
from agenttrace_core.schema.tables import KINDS, ROWS, STATUSES
from agenttrace_core.wire import otlp
from agenttrace_core.wire.check import check_traces
from agenttrace_core.wire.columns import decode_records
from agenttrace_core.wire.json_read import traces_from_json

NOW = 1_790_000_000_000_000_000
MOST = 2**64 - 1


def record(body: bytes, *, offset: int = 0, project: str = "default") -> Record:
    return Record(Position(0, offset, offset + len(body)), Headers(project, Signal.TRACES, NOW), body)


def one_row(**fields: Any) -> dict[str, Any]:
    """Send one span with ``fields`` and return its row."""
    request: Any = otlp.message_class("Request")()
    span: dict[str, Any] = {"trace_id": b"t" * 16, "span_id": b"s" * 8, "start_time_unix_nano": NOW - 5}
    request.resource_spans.add().scope_spans.add().spans.add(**(span | {"end_time_unix_nano": NOW} | fields))
    table = decode_records([record(request.SerializeToString())])
    assert table.schema == ROWS
    row: dict[str, Any] = table.to_pylist()[0]
    return row


@pytest.mark.parametrize(
    ("fields", "expected", "quality"),
    [
        ({}, {"duration_ns": 5, "kind": "unspecified", "status": "unset"}, Quality(0)),
        ({"start_time_unix_nano": 0}, {"start_ns": None, "duration_ns": None}, Quality.NO_START),
        ({"end_time_unix_nano": 0}, {"duration_ns": None}, Quality.NO_END),
        ({"end_time_unix_nano": NOW - 9}, {"duration_ns": -4}, Quality.END_BEFORE_START),
        ({"start_time_unix_nano": 1}, {"start_ns": 1}, Quality.ABSURD_START),
        ({"start_time_unix_nano": MOST, "end_time_unix_nano": MOST}, {"start_ns": 2**63 - 1}, Quality.ABSURD_START),
        ({"name": b"caf\xe9"}, {"name": "caf\ufffd"}, Quality.BAD_UTF8),
        ({"name": b"a\0b"}, {"name": "a\0b"}, Quality(0)),
        ({"kind": 77}, {"kind": "unspecified"}, Quality.UNKNOWN_KIND),
        ({"kind": 3}, {"kind": "client"}, Quality(0)),
        ({"status": {"code": -1}}, {"status": "unset"}, Quality.UNKNOWN_STATUS),
        ({"status": {"code": 2, "message": b"no"}}, {"status": "error", "status_message": "no"}, Quality(0)),
        ({"parent_span_id": b"123"}, {"parent_span_id": None}, Quality.BAD_PARENT),
        ({"parent_span_id": b"\0" * 8}, {"parent_span_id": None}, Quality(0)),
        ({"parent_span_id": b"\0" * 7 + b"\1"}, {"parent_span_id": "0000000000000001"}, Quality(0)),
    ],
)  # fmt: skip
def test_an_odd_span_is_stored_and_says_what_is_odd(
    fields: dict[str, Any], expected: dict[str, Any], quality: Quality
) -> None:
    row = one_row(**fields)
    assert {name: row[name] for name in expected} == expected
    assert Quality(row["quality"]) == quality


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key.encode(), "value": value}


@pytest.mark.parametrize(
    ("attributes", "column", "value"),
    [
        ([attribute("gen_ai.usage.input_tokens", int_value=12)], "input_tokens", 12),
        ([attribute("gen_ai.usage.input_tokens", string_value=b"12")], "input_tokens", 12),
        ([attribute("gen_ai.usage.input_tokens", double_value=12.0)], "input_tokens", 12),
        ([attribute("gen_ai.usage.input_tokens", double_value=12.5)], "input_tokens", None),
        ([attribute("gen_ai.usage.input_tokens", string_value=b"many")], "input_tokens", None),
        ([attribute("gen_ai.usage.input_tokens", int_value=-1)], "input_tokens", None),
        ([attribute("gen_ai.usage.input_tokens", int_value=0)], "input_tokens", 0),
        (
            [attribute("llm.model_name", string_value=b"a"), attribute("gen_ai.request.model", string_value=b"b")],
            "model", "b",
        ),
        ([attribute("gen_ai.request.model", string_value=b"a"), attribute("gen_ai.response.model")], "model", "a"),
        ([attribute("user.id", int_value=7)], "user_id", "7"),
        ([attribute("user.id", string_value=b"a"), attribute("user.id", string_value=b"b")], "user_id", "a"),
        ([attribute("openinference.span.kind", string_value=b"LLM")], "operation", "chat"),
        ([attribute("openinference.span.kind", string_value=b"NEW")], "operation", None),
        ([attribute("gen_ai.tool.name", array_value=b"")], "tool", None),
    ],
)  # fmt: skip
def test_a_canonical_column_takes_the_best_source_that_it_can_hold(
    attributes: list[dict[str, Any]], column: str, value: object
) -> None:
    assert one_row(attributes=attributes)[column] == value


def test_rows_say_which_record_and_place_they_came_from() -> None:
    """Without it, two versions of one span could not be told apart for good."""
    span: Any = otlp.message_class("Request")()
    spans = span.resource_spans.add().scope_spans.add().spans
    for number in (1, 2):
        spans.add(trace_id=b"t" * 16, span_id=bytes([number]) * 8)
    body = span.SerializeToString()
    rows = decode_records([record(body), record(b"", offset=50), record(body, offset=90, project="other")])
    assert rows["offset"].to_pylist() == [0, 0, 90, 90]
    assert rows["position"].to_pylist() == [0, 1, 0, 1]
    assert rows["project"].to_pylist() == ["default", "default", "other", "other"]


def test_ids_that_cannot_be_found_again_are_refused_and_cost_no_neighbour() -> None:
    request: Any = otlp.message_class("Request")()
    spans = request.resource_spans.add().scope_spans.add().spans
    good = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    for fields in (good, {"trace_id": b"t" * 15}, {"span_id": b"\0" * 8}, {"trace_id": b""}):
        spans.add(**(good | fields))
    checked = check_traces(request.SerializeToString())
    assert (checked.accepted, checked.rejected) == (1, 3)
    assert "trace_id has 15 bytes, 16 are wanted (1)" in checked.reason
    assert "span_id is all zeros (1)" in checked.reason
    assert check_traces(checked.body).accepted == 1
    assert check_traces(checked.refused_body).rejected == 3


def test_recorded_traces_become_the_rows_that_a_plain_reading_gives(corpora: Path) -> None:
    """All recorded dialects: ids, names, kinds, times and states, beside a reading of the JSON itself."""
    seen = 0
    for lines in batched(_lines(corpora), 50):
        expected = [
            _plain(span, resource_spans)
            for line in lines
            for resource_spans in line["resourceSpans"]
            for scope_spans in resource_spans["scopeSpans"]
            for span in scope_spans["spans"]
        ]
        bodies = [check_traces(traces_from_json(json.dumps(line).encode()).body).body for line in lines]
        rows = decode_records([record(body) for body in bodies]).select(list(expected[0])).to_pylist()
        assert rows == expected
        seen += len(rows)
    assert seen > 7_000


def batched(lines: Iterator[dict[str, Any]], count: int) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(lines, count)):
        yield batch


def _lines(corpora: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((corpora / "dev").glob("*.otlp.jsonl.zst")):
        with path.open("rb") as raw, zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw) as stream:
            yield from map(json.loads, io.TextIOWrapper(stream, "utf-8"))


def _plain(span: dict[str, Any], resource_spans: dict[str, Any]) -> dict[str, Any]:
    start, end = int(span.get("startTimeUnixNano", 0)), int(span.get("endTimeUnixNano", 0))
    services = [
        a["value"].get("stringValue")
        for a in resource_spans.get("resource", {}).get("attributes", [])
        if a["key"] == "service.name"
    ]
    return {
        "trace_id": span["traceId"].lower(),
        "span_id": span["spanId"].lower(),
        "parent_span_id": span.get("parentSpanId", "").lower() or None,
        "name": span.get("name", ""),
        "kind": KINDS[span.get("kind", 0)],
        "service": next(iter(services), None) or None,
        "start_ns": start or None,
        "duration_ns": end - start if start and end else None,
        "status": STATUSES[span.get("status", {}).get("code", 0)],
    }
