"""OTLP/HTTP to the letter: what any exporter relies on."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
import zstandard
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agenttrace_core.ports.queue import Signal
from agenttrace_server.auth import new_key
from agenttrace_server.ingestion.config import DoorConfig
from tests.integration.doors import JSON, PROTOBUF, Door, open_door, request, span, spans_of

pytestmark = pytest.mark.anyio


async def test_a_request_is_appended_as_received_and_its_receipt_says_where(door: Door) -> None:
    """Bytes that nothing was refused of must not be made anew: that would lose what we do not know."""
    body = request(span(1), span(2)) + b"\xfa\x3f\x03new"  # field 1023: a future version's
    response = await door.post(body)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == PROTOBUF
    [record] = await door.records()
    assert record.body == body
    assert record.headers.project == "default"
    receipt = door.receipt(response.headers["agenttrace-receipt"])
    assert receipt.ends == {0: record.position.next_offset}
    assert (receipt.accepted, receipt.rejected) == (2, 0)


async def test_langfuses_own_path_takes_traces(door: Door) -> None:
    """Lost otherwise: all that programs with Langfuse's SDK send, whose path is not that of OTLP."""
    response = await door.post(request(span(1)), path="/api/public/otel/v1/traces")
    assert response.status_code == 200
    assert len(await door.records()) == 1


_DEFLATE = zlib.compressobj(wbits=-15)
_STREAM = zstandard.ZstdCompressor().compressobj()
_BODY = request(span(7), span(8))


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("gzip", gzip.compress(_BODY, mtime=0)),
        ("x-gzip", gzip.compress(_BODY, mtime=0)),
        ("GZIP", gzip.compress(_BODY, mtime=0)),
        ("gzip", gzip.compress(_BODY[:20]) + gzip.compress(_BODY[20:]) + bytes(5)),
        ("deflate", zlib.compress(_BODY)),
        ("deflate", _DEFLATE.compress(_BODY) + _DEFLATE.flush()),
        ("zstd", zstandard.ZstdCompressor().compress(_BODY)),
        ("zstd", _STREAM.compress(_BODY) + _STREAM.flush()),
        ("identity", _BODY),
    ],
)
async def test_every_encoding_that_senders_use_is_read(door: Door, encoding: str, sent: bytes) -> None:
    """A sender whose encoding is not read loses everything."""
    assert (await door.post(sent, content_encoding=encoding)).status_code == 200
    [record] = await door.records()
    assert record.body == _BODY


async def test_json_is_stored_as_the_same_spans_as_protobuf(door: Door) -> None:
    """JSON senders (browsers, curl) must not end up with other spans."""
    document = {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": "0000000000000000000000000000000A",
                                "spanId": "000000000000000b",
                                "name": "héllo",
                                "startTimeUnixNano": "1760000000000000001",
                                "endTimeUnixNano": 1760000001000000001,
                                "unknownField": {"deep": [1]},
                            }
                        ]
                    }
                ],
                "novelty": 1,
            }
        ]
    }
    response = await door.post(json.dumps(document).encode(), f"{JSON}; charset=UTF-8")
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == JSON
    [stored] = spans_of(await door.records())
    assert stored.trace_id == (10).to_bytes(16, "big")
    assert stored.span_id == (11).to_bytes(8, "big")
    assert (stored.name, stored.start_time_unix_nano) == ("héllo", 1760000000000000001)


async def test_a_bad_span_costs_only_itself_and_is_told_kept_and_receipted(door: Door) -> None:
    """One bad id must not lose its neighbours, nor vanish without a word."""
    bad = [span(2, trace_id=b"short"), span(3, span_id=bytes(8)), span(4, trace_id=b"")]
    response = await door.post(request(span(1), *bad, span(5)))
    assert response.status_code == 200
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 3
    assert "trace_id has 5 bytes" in partial.error_message
    assert "span_id is all zeros" in partial.error_message
    assert [s.name for s in spans_of(await door.records())] == ["span 1", "span 5"]
    receipt = door.receipt(response.headers["agenttrace-receipt"])
    assert (receipt.accepted, receipt.rejected) == (2, 3)
    [refused] = await door.refused()
    assert (refused.spans, refused.signal, refused.project) == (3, Signal.TRACES, "default")
    assert b"span 3" in refused.body


async def test_a_bad_span_in_json_is_told_in_json(door: Door) -> None:
    """Ids in base64 are what protobuf's own JSON mapping makes; they are no ids here."""
    spans = [
        {"traceId": "AAAAAAAAAAAAAAAAAAAACg==", "spanId": "000000000000000b", "name": "no span id digits"},
        {"traceId": "0" * 32, "spanId": "000000000000000b", "name": "zeros"},
        {"traceId": "f" * 32, "spanId": "00000000000000zz", "name": "not hex"},
        {"traceId": "F" * 32, "spanId": "000000000000000c", "name": "good"},
    ]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    response = await door.post(body, JSON)
    assert response.status_code == 200
    stored = spans_of(await door.records())
    assert stored[-1].name == "good"
    assert all(len(s.trace_id) == 16 and any(s.trace_id) for s in stored)
    partial = response.json()["partialSuccess"]
    assert int(partial["rejectedSpans"]) == 4 - len(stored)
    assert "spanId" in partial["errorMessage"]
    [refused] = await door.refused()
    assert b"not hex" in refused.body


async def test_when_every_span_is_bad_nothing_is_stored_and_the_receipt_says_so(door: Door) -> None:
    """A record without spans would be work for the writer, and a lie in the receipt."""
    response = await door.post(request(span(1, span_id=b"")))
    assert response.status_code == 200
    assert await door.records() == []
    receipt = door.receipt(response.headers["agenttrace-receipt"])
    assert (receipt.accepted, receipt.rejected, receipt.ends) == (0, 1, {})


@pytest.mark.parametrize("body", [b"", request()])
async def test_a_request_without_spans_succeeds_and_stores_nothing(door: Door, body: bytes) -> None:
    """Exporters probe with empty requests; an error there looks like a broken server."""
    response = await door.post(body)
    assert (response.status_code, response.content) == (200, b"")
    assert await door.records() == []


@pytest.mark.parametrize(
    ("media_type", "decode"),
    [(PROTOBUF, Status.FromString), (JSON, lambda body: Status(**json.loads(body)))],
)
async def test_a_corrupt_body_is_400_with_a_status_in_its_own_encoding(
    door: Door, media_type: str, decode: Callable[[bytes], Status]
) -> None:
    """A client parses the error by the encoding that it sent."""
    response = await door.post(b"\x0a\xff\xff\xff\x0f{", media_type)
    assert response.status_code == 400
    assert response.headers["content-type"] == media_type
    status = decode(response.content)
    assert status.code == 3
    assert "body" in status.message
    [refused] = await door.refused()
    assert refused.body == b"\x0a\xff\xff\xff\x0f{"
    assert await door.records() == []


async def test_bad_utf8_costs_only_its_own_value(door: Door) -> None:
    """One sender's broken string must not refuse a whole batch of spans."""
    body = request(span(1, name="XXXX"), span(2)).replace(b"XXXX", b"\xff\xfe\xc3\x28")
    assert (await door.post(body)).status_code == 200
    [record] = await door.records()
    assert record.body == body


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/grpc"])
async def test_another_content_type_is_415_and_says_which_are_taken(door: Door, media_type: str) -> None:
    """Curl's default content type is the first thing that people send."""
    response = await door.post(_BODY, media_type)
    assert response.status_code == 415
    assert "application/x-protobuf" in response.json()["message"]
    assert await door.records() == []


async def test_another_content_encoding_is_415_and_says_which_are_taken(door: Door) -> None:
    """A sender that is told what works can be mended."""
    response = await door.post(_BODY, content_encoding="br")
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "gzip, deflate, zstd"
    message = Status.FromString(response.content).message
    assert all(name in message for name in ("br", "gzip", "deflate", "zstd", "identity"))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_another_method_is_405_and_names_the_right_one(door: Door, method: str) -> None:
    """RFC 9110 asks for Allow, and a person who opens the address in a browser learns what it is."""
    response = await door.client.request(method, "/v1/traces")
    assert response.status_code == 405
    assert "POST" in response.headers["allow"]


async def test_metrics_are_404_and_the_answer_says_why_and_what_to_set(door: Door) -> None:
    """Exporters are often set up for all three signals at once."""
    response = await door.post(b"", path="/v1/metrics")
    assert response.status_code == 404
    assert "OTEL_METRICS_EXPORTER=none" in Status.FromString(response.content).message


async def test_an_unknown_path_says_what_this_port_takes(door: Door) -> None:
    """Sending to / or /v1/trace is the commonest mistake."""
    response = await door.post(b"{}", JSON, "/v1/trace")
    assert response.status_code == 404
    assert "/v1/traces" in response.json()["message"]


async def test_genai_events_are_queued_beside_the_spans_and_other_logs_are_told_refused(door: Door) -> None:
    """Agents' content travels in log events; an application's other logs are not ours to keep."""
    message = ExportLogsServiceRequest()
    records = message.resource_logs.add().scope_logs.add().log_records
    records.add(event_name="gen_ai.user.message", time_unix_nano=5)
    records.add(event_name="app.started")
    response = await door.post(message.SerializeToString(), path="/v1/logs")
    assert response.status_code == 200
    partial = ExportLogsServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_log_records == 1
    assert "gen_ai." in partial.error_message
    [record] = await door.records(Signal.LOGS)
    stored = ExportLogsServiceRequest.FromString(record.body).resource_logs[0].scope_logs[0].log_records
    assert [log.event_name for log in stored] == ["gen_ai.user.message"]


async def test_a_key_chooses_the_project_and_a_wrong_one_is_401() -> None:
    """Every row is scoped by the project of the key that brought it."""
    key, digest = new_key("shop")
    async with open_door(keys=[("shop", digest)]) as door:
        assert (await door.post(_BODY, authorization=f"Bearer {key}")).status_code == 200
        [record] = await door.records()
        assert record.headers.project == "shop"
        wrong = await door.post(_BODY, authorization=f"Bearer {key}x")
        assert wrong.status_code == 401
        assert wrong.headers["www-authenticate"] == "Bearer"
        assert key not in wrong.text
        assert Status.FromString(wrong.content).code == 16
        assert (await door.post(_BODY, authorization="Basic YTpi")).status_code == 401
        assert len(await door.records()) == 1


async def test_a_caller_that_a_proxy_passed_on_is_not_on_this_machine(door: Door) -> None:
    """Behind a proxy on loopback, the whole world would be project default without a key."""
    assert (await door.post(_BODY, x_forwarded_for="203.0.113.9")).status_code == 401
    assert (await door.post(_BODY, forwarded="for=127.0.0.1")).status_code == 401
    assert (await door.post(_BODY, via="1.1 proxy")).status_code == 401


async def test_limits_hold_before_and_after_decompression_and_apart() -> None:
    """The two limits are set apart, because compressed senders send more spans in fewer bytes."""
    body = request(*(span(n) for n in range(1, 200)))
    config = DoorConfig(max_body_bytes=1000, max_decompressed_bytes=len(body))
    async with open_door(config) as door:
        assert (await door.post(body)).status_code == 413
        packed = zstandard.ZstdCompressor(level=19).compress(request(*(span(1) for _ in range(199))))
        assert len(packed) < 1000
        assert (await door.post(packed, content_encoding="zstd")).status_code == 200
        too_long = zstandard.ZstdCompressor().compress(bytes(len(body) + 1))
        response = await door.post(too_long, content_encoding="zstd")
        assert response.status_code == 413
        assert str(len(body)) in Status.FromString(response.content).message


async def test_the_port_answers_for_the_processs_health_and_figures(door: Door) -> None:
    """An orchestrator and Prometheus ask the process itself."""
    await door.post(request(span(1), span(2, span_id=b"bad")))
    await door.post(b"\xff")
    assert (await door.client.get("/healthz")).status_code == 200
    assert (await door.client.get("/readyz")).status_code == 200
    figures = (await door.client.get("/metrics")).text
    assert 'agenttrace_ingest_items_total{signal="traces"} 1.0' in figures
    assert 'agenttrace_ingest_refused_total{reason="invalid_item",signal="traces"} 1.0' in figures
    assert 'agenttrace_ingest_refused_total{reason="invalid_input",signal="traces"} 1.0' in figures
    assert 'agenttrace_ingest_requests_total{code="3",door="http"} 1.0' in figures
    assert "agenttrace_ingest_append_seconds_count 1.0" in figures
    assert "agenttrace_ingest_in_flight_bytes 0.0" in figures
