"""A plain, recursive reading of OTLP/JSON by the descriptors of opentelemetry-proto: slow, strict, and not ours."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

Json = dict[str, Any]

_SHOWN_WHEN_EMPTY: dict[str, Json] = {
    "KeyValue": {"key": ""},
    "ArrayValue": {"values": []},
    "KeyValueList": {"values": []},
}
_IDS = {"trace_id", "span_id", "parent_span_id"}
_LONG = {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_UINT64}


def to_json(message: Message) -> Json:
    """Write a message as the specification says."""
    out: Json = dict(_SHOWN_WHEN_EMPTY.get(message.DESCRIPTOR.name, {}))
    for field, value in message.ListFields():
        many = field.is_repeated
        out[field.json_name] = [_value_to_json(field, v) for v in value] if many else _value_to_json(field, value)
    return out


def _value_to_json(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return to_json(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.hex() if field.name in _IDS else base64.b64encode(value).decode()
    if field.type in _LONG:
        return str(value)
    if field.type == FieldDescriptor.TYPE_DOUBLE and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def fill(message: Message, document: Json) -> Any:
    """Read a document into a message, by the letter and with ids in base64 and enum values by name."""
    for field in message.DESCRIPTOR.fields:
        value = document.get(field.json_name)
        if value is None:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            _fill_message(getattr(message, field.name), field, value)
        elif field.is_repeated:
            getattr(message, field.name).extend(_value_of(field, v) for v in value)
        else:
            setattr(message, field.name, _value_of(field, value))
    return message


def _fill_message(target: Any, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        for item in value:
            fill(target.add(), item)
    else:
        target.SetInParent()
        fill(target, value)


def _value_of(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        is_hex = field.name in _IDS and not value.endswith("=")
        return bytes.fromhex(value) if is_hex else base64.b64decode(value)
    if field.type == FieldDescriptor.TYPE_ENUM and isinstance(value, str):
        return field.enum_type.values_by_name[value].number
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return float(value)
    return int(value) if field.type in _LONG else value


def traces_of(document: Json) -> ExportTraceServiceRequest:
    """Read an OTLP/JSON request; Tempo's names for its levels are read too."""
    text = {"batches": "resourceSpans", "instrumentationLibrarySpans": "scopeSpans", "instrumentationLibrary": "scope"}
    message: ExportTraceServiceRequest = fill(ExportTraceServiceRequest(), _renamed(document, text))
    return message


def _renamed(value: Any, names: dict[str, str], depth: int = 6) -> Any:
    if not depth:
        return value
    if isinstance(value, dict):
        return {names.get(k, k): _renamed(v, names, depth - 1) for k, v in value.items()}
    return [_renamed(v, names, depth - 1) for v in value] if isinstance(value, list) else value


def flat(request: ExportTraceServiceRequest) -> Iterator[tuple[bytes, ...]]:
    """Iterate over (resource, its schema URL, scope, its schema URL, span), serialized, for comparison."""
    for rs in request.resource_spans:
        for ss in rs.scope_spans:
            for span in ss.spans:
                yield (
                    rs.resource.SerializeToString(deterministic=True),
                    rs.schema_url.encode(),
                    ss.scope.SerializeToString(deterministic=True),
                    ss.schema_url.encode(),
                    span.SerializeToString(deterministic=True),
                )


# --- what requests may be ---

_text = st.text(max_size=12)
_u32 = st.integers(0, 2**32 - 1)
_u64 = st.integers(0, 2**64 - 1)
_scalars = st.one_of(
    st.builds(AnyValue),
    st.builds(AnyValue, string_value=_text),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False) | st.just(math.nan)),
    st.builds(AnyValue, bytes_value=st.binary(max_size=9)),
)


def _nest(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    pairs = st.lists(st.fixed_dictionaries({"key": _text}, optional={"value": inner}), max_size=3)
    return st.one_of(
        st.builds(AnyValue, array_value=st.fixed_dictionaries({"values": st.lists(inner, max_size=3)})),
        st.builds(AnyValue, kvlist_value=st.fixed_dictionaries({"values": pairs})),
    )


any_values = st.recursive(_scalars, _nest, max_leaves=4)
_attributes = st.lists(st.fixed_dictionaries({"key": _text}, optional={"value": any_values}), max_size=4)


def _nonzero(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size).filter(any)


_resource = st.fixed_dictionaries({}, optional={"attributes": _attributes, "dropped_attributes_count": _u32})
_scope = st.fixed_dictionaries(
    {}, optional={"name": _text, "version": _text, "attributes": _attributes, "dropped_attributes_count": _u32}
)
_event = st.fixed_dictionaries(
    {}, optional={"time_unix_nano": _u64, "name": _text, "attributes": _attributes, "dropped_attributes_count": _u32}
)
_link = st.fixed_dictionaries(
    {"trace_id": st.binary(max_size=17), "span_id": st.binary(max_size=9)},
    optional={"trace_state": _text, "attributes": _attributes, "dropped_attributes_count": _u32, "flags": _u32},
)
_span = st.fixed_dictionaries(
    {"trace_id": _nonzero(16), "span_id": _nonzero(8)},
    optional={
        "trace_state": _text,
        "parent_span_id": st.binary(max_size=9),
        "flags": _u32,
        "name": _text,
        "kind": st.integers(0, 5),
        "start_time_unix_nano": _u64,
        "end_time_unix_nano": _u64,
        "attributes": _attributes,
        "dropped_attributes_count": _u32,
        "events": st.lists(_event, max_size=2),
        "dropped_events_count": _u32,
        "links": st.lists(_link, max_size=2),
        "dropped_links_count": _u32,
        "status": st.fixed_dictionaries({}, optional={"message": _text, "code": st.integers(0, 2)}),
    },
)
_record = st.fixed_dictionaries(
    {},
    optional={
        "time_unix_nano": _u64,
        "observed_time_unix_nano": _u64,
        "severity_number": st.integers(0, 24),
        "severity_text": _text,
        "body": any_values,
        "attributes": _attributes,
        "dropped_attributes_count": _u32,
        "flags": _u32,
        "trace_id": st.binary(max_size=17),
        "span_id": st.binary(max_size=9),
        "event_name": _text | st.just("gen_ai.choice"),
    },
)


def _levels(scopes: str, items: str, item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    shared = {"schema_url": _text}
    scope = st.fixed_dictionaries({items: st.lists(item, min_size=1, max_size=3)}, optional={"scope": _scope} | shared)
    return st.lists(
        st.fixed_dictionaries(
            {scopes: st.lists(scope, min_size=1, max_size=2)}, optional={"resource": _resource} | shared
        ),
        max_size=2,
    )


trace_requests = st.builds(ExportTraceServiceRequest, resource_spans=_levels("scope_spans", "spans", _span))
log_requests = st.builds(ExportLogsServiceRequest, resource_logs=_levels("scope_logs", "log_records", _record))
