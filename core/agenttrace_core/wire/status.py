"""The bodies of OTLP answers, in the encoding of the request.

https://opentelemetry.io/docs/specs/otlp/#otlphttp-response: an export response on success, whole or
partial, and a ``google.rpc.Status`` on failure.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from agenttrace_core.wire import json_text
from agenttrace_core.wire.proto_bytes import delimited, signed_varint, varint
from agenttrace_core.wire.utf8 import bytes_of

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


class Encoding(StrEnum):
    """How a body is written. The values are the content types."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


class Code(IntEnum):
    """The codes of ``google.rpc.Code`` that AgentTrace answers with."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


def traces_response(encoding: Encoding, *, rejected: int = 0, reason: str = "") -> bytes:
    """Return an ``ExportTraceServiceResponse``: everything accepted, or all but ``rejected`` spans."""
    return _export_response(encoding, "rejectedSpans", rejected, reason)


def logs_response(encoding: Encoding, *, rejected: int = 0, reason: str = "") -> bytes:
    """Return an ``ExportLogsServiceResponse``: everything accepted, or all but ``rejected`` records."""
    return _export_response(encoding, "rejectedLogRecords", rejected, reason)


def error_status(encoding: Encoding, code: Code, message: str, *, retry_after_s: int | None = None) -> bytes:
    """Return a ``google.rpc.Status``; with ``retry_after_s``, seconds, it holds a ``RetryInfo``."""
    if encoding is Encoding.PROTOBUF:
        return _error_protobuf(code, message, retry_after_s)
    status: dict[str, object] = {"code": int(code), "message": message}
    if retry_after_s is not None:
        status["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{retry_after_s}s"}]
    return json_text.dumps(status)


def _export_response(encoding: Encoding, rejected_name: str, rejected: int, reason: str) -> bytes:
    if not rejected and not reason:  # the specification: a success must leave partial_success unset
        return b"" if encoding is Encoding.PROTOBUF else b"{}"
    if encoding is Encoding.JSON:
        return json_text.dumps({"partialSuccess": {rejected_name: str(rejected), "errorMessage": reason}})
    partial = b"\x08" + signed_varint(rejected) + delimited(b"\x12", bytes_of(reason))
    return delimited(b"\x0a", partial)


def _error_protobuf(code: Code, message: str, retry_after_s: int | None) -> bytes:
    status = b"\x08" + varint(code) + delimited(b"\x12", bytes_of(message))
    if retry_after_s is None:
        return status
    delay = delimited(b"\x0a", b"\x08" + varint(retry_after_s))
    return status + delimited(b"\x1a", delimited(b"\x0a", _RETRY_INFO.encode()) + delimited(b"\x12", delay))
