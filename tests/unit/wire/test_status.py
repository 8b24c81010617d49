"""The bodies of OTLP answers, read back with the protocol's own classes."""

from __future__ import annotations

import json

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agenttrace_core.wire.status import Code, Encoding, error_status, logs_response, traces_response


def _rpc(name: str, *fields: tuple[str, int, int, str]) -> type[Message]:
    """A message of google.rpc or google.protobuf, declared here: name, number, type, message type or brackets."""
    file = descriptor_pb2.FileDescriptorProto(name=f"test/{name}.proto", package="test", syntax="proto3")
    declared = {
        "Any": [("type_url", 1, 9), ("value", 2, 12)],
        "Status": [("code", 1, 5), ("message", 2, 9)],
        "Duration": [("seconds", 1, 3), ("nanos", 2, 5)],
        "RetryInfo": [],
    }
    for message_name, scalars in declared.items():
        message = file.message_type.add(name=message_name)
        for field_name, number, kind in scalars:
            message.field.add(name=field_name, number=number, type=kind, label=1)
    file.message_type[1].field.add(name="details", number=3, type=11, type_name=".test.Any", label=3)
    file.message_type[3].field.add(name="retry_delay", number=1, type=11, type_name=".test.Duration", label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


def test_a_full_success_says_nothing() -> None:
    """Lost: conformance: clients log a warning for a partial success that is none."""
    for respond in (traces_response, logs_response):
        assert respond(Encoding.PROTOBUF) == b""
        assert respond(Encoding.JSON) == b"{}"


def test_a_partial_success_says_how_many_and_why() -> None:
    """Lost: the sender's knowledge of what was refused."""
    traces = ExportTraceServiceResponse.FromString(traces_response(Encoding.PROTOBUF, rejected=300, reason="ids ä"))
    assert (traces.partial_success.rejected_spans, traces.partial_success.error_message) == (300, "ids ä")
    logs = ExportLogsServiceResponse.FromString(logs_response(Encoding.PROTOBUF, rejected=2, reason="no events"))
    assert (logs.partial_success.rejected_log_records, logs.partial_success.error_message) == (2, "no events")
    assert json.loads(traces_response(Encoding.JSON, rejected=3, reason="r")) == {
        "partialSuccess": {"rejectedSpans": "3", "errorMessage": "r"}
    }
    assert json.loads(logs_response(Encoding.JSON, rejected=3, reason="r")) == {
        "partialSuccess": {"rejectedLogRecords": "3", "errorMessage": "r"}
    }


def test_a_failure_is_a_google_rpc_status() -> None:
    """Lost: the reason of a failure, in a client that reads the body as the specification has it."""
    status = _rpc("Status").FromString(error_status(Encoding.PROTOBUF, Code.INVALID_ARGUMENT, "no"))
    assert (status.code, status.message, len(status.details)) == (3, "no", 0)
    assert json.loads(error_status(Encoding.JSON, Code.UNAUTHENTICATED, "who?")) == {"code": 16, "message": "who?"}


def test_an_overload_says_when_to_retry() -> None:
    """Lost: gRPC clients retry RESOURCE_EXHAUSTED only where the status holds a RetryInfo."""
    body = error_status(Encoding.PROTOBUF, Code.RESOURCE_EXHAUSTED, "full", retry_after_s=2)
    (detail,) = _rpc("Status").FromString(body).details
    assert detail.type_url == "type.googleapis.com/google.rpc.RetryInfo"
    assert _rpc("RetryInfo").FromString(detail.value).retry_delay.seconds == 2
    document = json.loads(error_status(Encoding.JSON, Code.RESOURCE_EXHAUSTED, "full", retry_after_s=2))
    assert document["details"] == [{"@type": detail.type_url, "retryDelay": "2s"}]
