"""OTLP's trace messages, described so that decoding stays flat, total and quick.

Wire-compatible with ``opentelemetry/proto/trace/v1/trace.proto`` (OTLP 1.x), with two changes:

- every text is ``bytes``, so that bad UTF-8 costs only its own value and not the request;
- ``AnyValue``'s recursive ``array_value`` and ``kvlist_value`` are ``bytes``, so that no depth of
  nesting can exhaust a stack, and Arrow can hold the message as columns.

Three views of one wire format are described: whole spans (``Request``), spans as slices of
the request (``SlicedRequest``), and ids alone (``IdRequest``), which costs a tenth of the first.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.message import Message

_Field = descriptor_pb2.FieldDescriptorProto

_PACKAGE = "agenttrace.otlp"

_SCALARS = {
    "bytes": _Field.TYPE_BYTES, "bool": _Field.TYPE_BOOL, "double": _Field.TYPE_DOUBLE, "int64": _Field.TYPE_INT64,
    "fixed64": _Field.TYPE_FIXED64, "fixed32": _Field.TYPE_FIXED32, "uint32": _Field.TYPE_UINT32,
    "enum": _Field.TYPE_INT32,
}  # fmt: skip

# Field name, number and type; a type in brackets is repeated.
_MESSAGES: dict[str, list[tuple[str, int, str]]] = {
    "AnyValue": [
        ("string_value", 1, "bytes"), ("bool_value", 2, "bool"), ("int_value", 3, "int64"),
        ("double_value", 4, "double"), ("array_value", 5, "bytes"), ("kvlist_value", 6, "bytes"),
        ("bytes_value", 7, "bytes"),
    ],
    "ArrayValue": [("values", 1, "[AnyValue]")],
    "KeyValueList": [("values", 1, "[KeyValue]")],
    "KeyValue": [("key", 1, "bytes"), ("value", 2, "AnyValue")],
    "Event": [
        ("time_unix_nano", 1, "fixed64"), ("name", 2, "bytes"), ("attributes", 3, "[KeyValue]"),
        ("dropped_attributes_count", 4, "uint32"),
    ],
    "Link": [
        ("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("trace_state", 3, "bytes"),
        ("attributes", 4, "[KeyValue]"), ("dropped_attributes_count", 5, "uint32"), ("flags", 6, "fixed32"),
    ],
    "Status": [("message", 2, "bytes"), ("code", 3, "enum")],
    "Span": [
        ("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("trace_state", 3, "bytes"),
        ("parent_span_id", 4, "bytes"), ("name", 5, "bytes"), ("kind", 6, "enum"),
        ("start_time_unix_nano", 7, "fixed64"), ("end_time_unix_nano", 8, "fixed64"),
        ("attributes", 9, "[KeyValue]"), ("dropped_attributes_count", 10, "uint32"),
        ("events", 11, "[Event]"), ("dropped_events_count", 12, "uint32"),
        ("links", 13, "[Link]"), ("dropped_links_count", 14, "uint32"),
        ("status", 15, "Status"), ("flags", 16, "fixed32"),
    ],
    "InstrumentationScope": [
        ("name", 1, "bytes"), ("version", 2, "bytes"), ("attributes", 3, "[KeyValue]"),
        ("dropped_attributes_count", 4, "uint32"),
    ],
    "Resource": [("attributes", 1, "[KeyValue]"), ("dropped_attributes_count", 2, "uint32")],
    "ScopeSpans": [("scope", 1, "InstrumentationScope"), ("spans", 2, "[Span]"), ("schema_url", 3, "bytes")],
    "ResourceSpans": [("resource", 1, "Resource"), ("scope_spans", 2, "[ScopeSpans]"), ("schema_url", 3, "bytes")],
    "Request": [("resource_spans", 1, "[ResourceSpans]")],
    # The columns of a light row need neither events nor links, nor values that are not plain.
    "LightAnyValue": [
        ("string_value", 1, "bytes"), ("bool_value", 2, "bool"), ("int_value", 3, "int64"),
        ("double_value", 4, "double"),
    ],
    "LightKeyValue": [("key", 1, "bytes"), ("value", 2, "LightAnyValue")],
    "LightSpan": [
        ("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("parent_span_id", 4, "bytes"), ("name", 5, "bytes"),
        ("kind", 6, "enum"), ("start_time_unix_nano", 7, "fixed64"), ("end_time_unix_nano", 8, "fixed64"),
        ("attributes", 9, "[LightKeyValue]"), ("status", 15, "Status"),
    ],
    "LightScope": [("name", 1, "bytes")],
    "LightScopeSpans": [("scope", 1, "LightScope"), ("spans", 2, "[LightSpan]")],
    "LightResource": [("attributes", 1, "[LightKeyValue]")],
    "LightResourceSpans": [("resource", 1, "LightResource"), ("scope_spans", 2, "[LightScopeSpans]")],
    "LightRequest": [("resource_spans", 1, "[LightResourceSpans]")],
    # Spans, resources and scopes as they lie in the request.
    "SlicedScopeSpans": [("scope", 1, "bytes"), ("spans", 2, "[bytes]"), ("schema_url", 3, "bytes")],
    "SlicedResourceSpans": [
        ("resource", 1, "bytes"), ("scope_spans", 2, "[SlicedScopeSpans]"), ("schema_url", 3, "bytes"),
    ],
    "SlicedRequest": [("resource_spans", 1, "[SlicedResourceSpans]")],
    # What decides whether a span can be stored.
    "IdSpan": [("trace_id", 1, "bytes"), ("span_id", 2, "bytes")],
    "IdScopeSpans": [("spans", 2, "[IdSpan]")],
    "IdResourceSpans": [("scope_spans", 2, "[IdScopeSpans]")],
    "IdRequest": [("resource_spans", 1, "[IdResourceSpans]")],
    # Logs, as slices.
    "LogRecord": [
        ("time_unix_nano", 1, "fixed64"), ("observed_time_unix_nano", 11, "fixed64"), ("attributes", 6, "[KeyValue]"),
        ("trace_id", 9, "bytes"), ("span_id", 10, "bytes"), ("event_name", 12, "bytes"),
    ],
    "SlicedScopeLogs": [("scope", 1, "bytes"), ("log_records", 2, "[bytes]"), ("schema_url", 3, "bytes")],
    "SlicedResourceLogs": [
        ("resource", 1, "bytes"), ("scope_logs", 2, "[SlicedScopeLogs]"), ("schema_url", 3, "bytes"),
    ],
    "SlicedLogsRequest": [("resource_logs", 1, "[SlicedResourceLogs]")],
}  # fmt: skip


def _describe() -> FileDescriptor:
    file = descriptor_pb2.FileDescriptorProto(name="agenttrace/otlp.proto", package=_PACKAGE, syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind in fields:
            _add_field(message, name, number, kind)
        if message_name.endswith("AnyValue"):
            message.oneof_decl.add(name="value")
            for field in message.field:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindFileByName(file.name)


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if kind.startswith("[") else _Field.LABEL_OPTIONAL
    element = kind.strip("[]")
    if element in _SCALARS:
        field.type = _SCALARS[element]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{element}"


FILE: FileDescriptor = _describe()


def descriptor(name: str) -> Descriptor:
    """Return the descriptor of one of this module's messages, such as ``Request``."""
    return FILE.message_types_by_name[name]


def message_class(name: str) -> type[Message]:
    """Return the class of one of this module's messages, such as ``Span``; its texts are bytes."""
    return message_factory.GetMessageClass(descriptor(name))
