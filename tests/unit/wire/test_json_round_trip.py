"""OTLP/JSON to protobuf and back, against a plain reading of the specification and recorded traces."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agenttrace_core.schema.tables import PAYLOAD
from agenttrace_core.wire.json_read import JsonTraces, traces_from_json
from agenttrace_core.wire.json_write import attributes_json, resource_json, scope_json, span_json, trace_json
from tests.unit.wire import otlp_oracle as oracle


def _payload(body: bytes) -> pa.Table:
    """The rows that a writer keeps of a request: every message as it was received."""
    rows = list(oracle.flat(ExportTraceServiceRequest.FromString(body)))
    columns = [[row[i] for row in rows] for i in (4, 0, 1, 2, 3)]
    return pa.table(dict(zip(PAYLOAD.names, columns, strict=True)), schema=PAYLOAD)


def _exported(traces: JsonTraces) -> ExportTraceServiceRequest:
    return oracle.traces_of(json.loads(trace_json(_payload(traces.body))))


@given(oracle.trace_requests)
@settings(deadline=None, max_examples=60)
def test_every_request_reads_as_the_specification_says(request_: ExportTraceServiceRequest) -> None:
    """Lost: some value of some field of some span, silently, on its way in."""
    traces = traces_from_json(json.dumps(oracle.to_json(request_)).encode())
    read = ExportTraceServiceRequest.FromString(traces.body)
    assert traces.refused == ()
    assert list(oracle.flat(read)) == list(oracle.flat(request_))
    assert traces.spans == len(list(oracle.flat(request_)))


@given(oracle.trace_requests)
@settings(deadline=None, max_examples=60)
def test_every_span_is_written_as_the_specification_says(request_: ExportTraceServiceRequest) -> None:
    """Lost: some value of some field of some span, silently, on its way out."""
    for rs in request_.resource_spans:
        assert resource_json(rs.resource.SerializeToString()) == oracle.to_json(rs.resource)
        for ss in rs.scope_spans:
            assert scope_json(ss.scope.SerializeToString()) == oracle.to_json(ss.scope)
            for span in ss.spans:
                raw = span.SerializeToString()
                assert span_json(raw) == oracle.to_json(span)
                assert attributes_json(raw) == oracle.to_json(span).get("attributes", [])


@given(oracle.trace_requests)
@settings(deadline=None, max_examples=40)
def test_what_was_exported_imports_as_the_same(request_: ExportTraceServiceRequest) -> None:
    """Lost: a backup of one's traces that can be restored."""
    traces = traces_from_json(json.dumps(oracle.to_json(request_)).encode())
    exported = trace_json(_payload(traces.body))
    again = traces_from_json(exported)
    assert Counter(oracle.flat(ExportTraceServiceRequest.FromString(again.body))) == Counter(oracle.flat(request_))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file, zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file) as data:
        yield from io.BufferedReader(data)


_DEV = [
    "native-agents", "native-crewai-telemetry", "native-zipkin-services", "replay-genai", "replay-genai-v2",
    "replay-huge", "replay-openinference", "replay-openllmetry", "replay-openllmetry-legacy",
]  # fmt: skip


@pytest.mark.parametrize("name", _DEV)
def test_the_export_of_an_import_equals_it_span_for_span(corpora: Path, name: str) -> None:
    """Lost: the promise that recorded traces, of every dialect and up to 8 MB a span, come back as they were sent."""
    index = json.loads((corpora / "dev" / f"{name}.index.json").read_bytes())
    traces = spans = 0
    for line in _lines(corpora / "dev" / f"{name}.otlp.jsonl.zst"):
        read = traces_from_json(line)
        assert read.refused == ()
        assert Counter(oracle.flat(_exported(read))) == Counter(oracle.flat(oracle.traces_of(json.loads(line))))
        traces, spans = traces + 1, spans + read.spans
    assert traces == len(index)
    assert spans == sum(entry["spans"] for entry in index)


def test_traces_in_tempos_and_protobufs_own_json_are_imported(corpora: Path) -> None:
    """Lost: files that people have: Tempo's exports, and those with base64 ids and enum names."""
    for name, spans in (("otlp-base64-ids-enum-names.jsonl.zst", 37), ("tempo-batches-legacy-keys.json.zst", 86)):
        count = 0
        for line in _lines(corpora / "oddities" / name):
            read = traces_from_json(line)
            assert read.refused == ()
            assert Counter(oracle.flat(_exported(read))) == Counter(oracle.flat(oracle.traces_of(json.loads(line))))
            count += read.spans
        assert count == spans


def test_ids_that_are_not_hex_are_refused_one_by_one_with_the_reason(corpora: Path) -> None:
    """Lost: being told which spans of an import were left out, and why."""
    refused = [
        refusal
        for line in _lines(corpora / "oddities" / "nonhex-ids.otlp.jsonl.zst")
        for refusal in traces_from_json(line).refused
    ]
    assert len(refused) == 5
    assert 'spans[0].traceId: "vertex-gemini-trace-001" is not 32 hex digits' in refused[0].reason
    assert json.loads(refused[0].item_json)["traceId"] == "vertex-gemini-trace-001"


def test_of_hand_made_spans_all_is_kept_or_told(corpora: Path) -> None:
    """Lost: a span between two kinds of mistake: neither stored nor refused."""
    kept = refused = 0
    for line in _lines(corpora / "zoo" / "dev-langfuse-cases.jsonl.zst"):
        request: dict[str, Any] = json.loads(line)["request"]
        read = traces_from_json(json.dumps(request).encode())
        bad = {refusal.item_json for refusal in read.refused}
        good = [
            span
            for resource in request["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
            if json.dumps(span, separators=(",", ":")).encode() not in bad
        ]
        exported = json.loads(trace_json(_payload(read.body)))
        ids = [s["spanId"] for r in exported["resourceSpans"] for c in r["scopeSpans"] for s in c["spans"]]
        assert ids == [span["spanId"] for span in good]
        kept, refused = kept + read.spans, refused + len(read.refused)
    assert (kept, refused) == (231, 15)
