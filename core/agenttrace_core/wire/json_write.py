"""Stored protobuf to OTLP/JSON, the inverse of ``json_read``.

64-bit integers are text, ids lowercase hex, enum values numbers, bytes base64, NaN and infinities
text. Everything that OTLP declares is shown as it was sent, in order; fields that it does not
declare are in the stored bytes only. Lone surrogates are kept, other bad UTF-8 is shown as U+FFFD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import pyarrow as pa

from agenttrace_core.errors import CorruptionError
from agenttrace_core.schema.tables import PAYLOAD
from agenttrace_core.wire import any_value, json_text
from agenttrace_core.wire.message import Json
from agenttrace_core.wire.otlp_messages import RESOURCE, SCOPE, SPAN
from agenttrace_core.wire.proto_bytes import MalformedError, fields
from agenttrace_core.wire.utf8 import text_of

_SPAN_ATTRIBUTES = 0x4A

_T = TypeVar("_T")
_Shared: TypeAlias = tuple[bytes, bytes]  # a message, and its schema URL
_Groups: TypeAlias = dict[_Shared, dict[_Shared, list[bytes]]]  # spans in JSON by resource and scope


def span_json(span: bytes) -> Json:
    """Return a stored ``Span`` as OTLP/JSON.

    Raises:
        CorruptionError: the bytes are not a span.
    """
    return _decoded(SPAN.decode, span, "span")


def resource_json(resource: bytes | None) -> Json:
    """Return a stored ``Resource`` as OTLP/JSON; none is an empty object.

    Raises:
        CorruptionError: the bytes are not a resource.
    """
    return _decoded(RESOURCE.decode, resource or b"", "resource")


def scope_json(scope: bytes | None) -> Json:
    """Return a stored ``InstrumentationScope`` as OTLP/JSON; none is an empty object.

    Raises:
        CorruptionError: the bytes are not a scope.
    """
    return _decoded(SCOPE.decode, scope or b"", "scope")


def attributes_json(span: bytes) -> list[Json]:
    """Return the attributes of a stored ``Span``, without reading the rest of it.

    Raises:
        CorruptionError: the bytes are not a span.
    """
    return _decoded(_span_attributes, span, "span")


def trace_json(payload: pa.Table) -> bytes:
    """Return rows in the ``PAYLOAD`` schema as one OTLP/JSON request.

    Spans are grouped by resource and scope, and keep the rows' order within a group; groups are in
    the order of their first span.

    Raises:
        CorruptionError: a row's bytes are not what its column says.
    """
    groups: _Groups = {}
    columns = (payload.column(name).to_pylist() for name in PAYLOAD.names)
    for span, *shared in zip(*columns, strict=True):
        resource, resource_url, scope, scope_url = shared
        scopes = groups.setdefault((resource or b"", resource_url or b""), {})
        scopes.setdefault((scope or b"", scope_url or b""), []).append(json_text.dumps(span_json(span)))
    return b"".join(_request(groups))


def _request(groups: _Groups) -> Iterator[bytes]:
    yield b'{"resourceSpans":['
    for i, ((resource, url), scopes) in enumerate(groups.items()):
        yield b",{" if i else b"{"
        if resource:
            yield b'"resource":' + json_text.dumps(resource_json(resource)) + b","
        yield b'"scopeSpans":['
        yield b",".join(b"".join(_scope_spans(scope, scope_url, spans)) for (scope, scope_url), spans in scopes.items())
        yield b"]" + _schema_url(url) + b"}"
    yield b"]}"


def _scope_spans(scope: bytes, url: bytes, spans: list[bytes]) -> Iterator[bytes]:
    yield b"{"
    if scope:
        yield b'"scope":' + json_text.dumps(scope_json(scope)) + b","
    yield b'"spans":['
    yield b",".join(spans)
    yield b"]" + _schema_url(url) + b"}"


def _schema_url(url: bytes) -> bytes:
    return b',"schemaUrl":' + json_text.dumps(text_of(url)) if url else b""


def _span_attributes(span: bytes) -> list[Json]:
    return [any_value.decode_key_value(raw) for tag, raw in fields(span) if tag == _SPAN_ATTRIBUTES]


def _decoded(decode: Callable[[bytes], _T], data: bytes, what: str) -> _T:
    try:
        return decode(data)
    except MalformedError as error:
        raise CorruptionError(f"the stored bytes are not a {what}: {error}") from error
