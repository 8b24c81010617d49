"""Spans and log records of OpenTelemetry's SDK as OTLP protobuf, a span at a time, in plain Python.

Why not the exporter's own encoder: it makes a protobuf object for every attribute, which costs several times what
is here, in the process of the user; it loses a whole batch to one lone surrogate; and the size of a request is known
only once it is made. Field numbers: https://github.com/open-telemetry/opentelemetry-proto. The exporter's encoder is
the oracle in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext

from agenttrace.content import as_text, clean

_DOUBLE: Final = Struct("<d").pack
_FIXED64: Final = Struct("<Q").pack
_FIXED32: Final = Struct("<I").pack

_VARINTS: Final = tuple(bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(1 << 14))
_MASK64: Final = (1 << 64) - 1
_INT64: Final = 1 << 63
_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200
_ODD_CHARS: Final = 100_000
_KEPT_KEYS: Final = 4_096
_keys: Final[dict[str, bytes]] = {}


def varint(number: int) -> bytes:
    """Return an unsigned varint."""
    if number < 1 << 14:
        return _VARINTS[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def delimited(tag: bytes, data: bytes) -> bytes:
    """Return a length-delimited field."""
    return tag + varint(len(data)) + data


def encode_span(span: ReadableSpan, extra: Mapping[str, Any] | None = None, *, running: bool = False) -> bytes:
    """Return the span as a field ``spans`` of ``ScopeSpans``: tag, length and ``Span``.

    Args:
        span: the span.
        extra: attributes that it does not have itself.
        running: leave out the end.
    """
    context = span.get_span_context() or SpanContext(0, 0, is_remote=False)
    parent = span.parent
    out = [b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big")]
    if context.trace_state:
        out.append(_text(b"\x1a", ",".join(f"{key}={value}" for key, value in context.trace_state.items())))
    if parent is not None:
        out += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
    out += (_text(b"\x2a", span.name), b"\x30", varint(span.kind.value + 1))
    out += (b"\x39", _FIXED64(span.start_time or 0))
    if span.end_time and not running:
        out += (b"\x41", _FIXED64(span.end_time))
    _attributes(out, b"\x4a", span.attributes)
    if extra:
        _attributes(out, b"\x4a", extra)
    out += _counted(b"\x50", span.dropped_attributes)
    out += [delimited(b"\x5a", _event(event)) for event in span.events]
    out += _counted(b"\x60", span.dropped_events)
    out += [delimited(b"\x6a", _link(link)) for link in span.links]
    out += _counted(b"\x70", span.dropped_links)
    status = span.status
    if status.status_code.value or status.description:
        code = b"\x18" + varint(status.status_code.value) if status.status_code.value else b""
        out.append(delimited(b"\x7a", (_text(b"\x12", status.description) if status.description else b"") + code))
    out += (b"\x85\x01", _FIXED32(_flags(parent)))
    return delimited(b"\x12", b"".join(out))


def traces_request(groups: Mapping[tuple[Resource, InstrumentationScope | None], Sequence[bytes]]) -> bytes:
    """Return an ``ExportTraceServiceRequest`` of encoded spans by what made them."""
    return _request(groups)


def logs_request(resource: Resource, scope: InstrumentationScope, records: Sequence[bytes]) -> bytes:
    """Return an ``ExportLogsServiceRequest`` of encoded records."""
    return _request({(resource, scope): records})


def encode_event_record(
    name: str, attributes: Mapping[str, Any], *, time_ns: int, trace_id: int, span_id: int | None
) -> bytes:
    """Return an event as a field ``log_records`` of ``ScopeLogs``: tag, length and ``LogRecord``."""
    out = [b"\x09", _FIXED64(time_ns), b"\x59", _FIXED64(time_ns)]
    _attributes(out, b"\x32", attributes)
    out += (b"\x4a\x10", trace_id.to_bytes(16, "big"))
    if span_id:
        out += (b"\x52\x08", span_id.to_bytes(8, "big"))
    out.append(_text(b"\x62", name))
    return delimited(b"\x12", b"".join(out))


def rejected_of(response: bytes) -> int:
    """Return how many items an ``Export…ServiceResponse`` says were rejected; 0 if it cannot be read."""
    # partial_success = 1 {rejected = 1 (varint), error_message = 2}; nothing else is in there.
    if len(response) < 4 or response[0] != 0x0A or response[2] != 0x08:
        return 0
    number = shift = 0
    for byte in response[3:13]:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number
    return 0


def _request(groups: Mapping[tuple[Resource, InstrumentationScope | None], Sequence[bytes]]) -> bytes:
    by_resource: dict[Resource, list[bytes]] = {}
    for (resource, scope), items in groups.items():
        head = delimited(b"\x0a", _scope(scope)) + b"".join(items)
        url = _text(b"\x1a", scope.schema_url) if scope is not None and scope.schema_url else b""
        by_resource.setdefault(resource, []).append(delimited(b"\x12", head + url))
    out: list[bytes] = []
    for resource, scopes in by_resource.items():
        attributes: list[bytes] = []
        _attributes(attributes, b"\x0a", resource.attributes)
        body = delimited(b"\x0a", b"".join(attributes)) + b"".join(scopes)
        out.append(delimited(b"\x0a", body + (_text(b"\x1a", resource.schema_url) if resource.schema_url else b"")))
    return b"".join(out)


def _scope(scope: InstrumentationScope | None) -> bytes:
    if scope is None:
        return b""
    out = [_text(b"\x0a", scope.name)]
    if scope.version:
        out.append(_text(b"\x12", scope.version))
    _attributes(out, b"\x1a", scope.attributes)
    return b"".join(out)


def _event(event: Event) -> bytes:
    out = [b"\x09", _FIXED64(event.timestamp), _text(b"\x12", event.name)]
    _attributes(out, b"\x1a", event.attributes)
    out += _counted(b"\x20", event.dropped_attributes)
    return b"".join(out)


def _link(link: Link) -> bytes:
    out = [b"\x0a\x10", link.context.trace_id.to_bytes(16, "big"), b"\x12\x08", link.context.span_id.to_bytes(8, "big")]
    _attributes(out, b"\x22", link.attributes)
    out += (b"\x35", _FIXED32(_flags(link.context)))
    return b"".join(out)


def _flags(parent: SpanContext | None) -> int:
    return _HAS_IS_REMOTE | (_IS_REMOTE if parent is not None and parent.is_remote else 0)


def _counted(tag: bytes, number: int) -> Iterable[bytes]:
    return (tag, varint(number)) if number else ()


def _attributes(out: list[bytes], tag: bytes, attributes: Mapping[str, Any] | None) -> None:
    for key, value in (attributes or {}).items():
        head = _keys.get(key) or _key(key)
        inner = _any_value(value)
        body = head + b"\x12" + varint(len(inner)) + inner
        out.append(tag + varint(len(body)) + body)


def _key(key: str) -> bytes:
    head = _text(b"\x0a", key)
    if len(_keys) < _KEPT_KEYS:
        _keys[key] = head
    return head


def _any_value(value: Any) -> bytes:
    write = _WRITERS.get(type(value))
    if write is None:
        write = next((of for kind, of in _KINDS if isinstance(value, kind)), _odd)
    return write(value)


def _string(value: Any) -> bytes:
    return _text(b"\x0a", str(value))


def _boolean(value: Any) -> bytes:
    return b"\x10\x01" if value else b"\x10\x00"


def _integer(value: Any) -> bytes:
    if -_INT64 <= value < _INT64:
        return b"\x18" + varint(value & _MASK64)
    return _odd(value)  # more than 64 bits are kept as their digits


def _double(value: Any) -> bytes:
    return b"\x21" + _DOUBLE(value)


def _bytes(value: Any) -> bytes:
    return delimited(b"\x3a", bytes(value))


def _array(value: Any) -> bytes:
    return delimited(b"\x2a", b"".join(delimited(b"\x0a", _any_value(inner)) for inner in value))


def _pairs(value: Any) -> bytes:
    pairs: list[bytes] = []
    _attributes(pairs, b"\x0a", {str(key): inner for key, inner in value.items()})
    return delimited(b"\x32", b"".join(pairs))


def _odd(value: Any) -> bytes:
    return _text(b"\x0a", as_text(value, _ODD_CHARS))


_KINDS: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], bytes]], ...]] = (
    (str, _string), (bool, _boolean), (int, _integer), (float, _double), (bytes, _bytes), ((list, tuple), _array),
    (Mapping, _pairs),
)  # fmt: skip
_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: _string, bool: _boolean, int: _integer, float: _double, bytes: _bytes, tuple: _array, list: _array,
    type(None): lambda _: b"",
}  # fmt: skip


def _text(tag: bytes, text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = clean(text).encode()
    return tag + varint(len(data)) + data
