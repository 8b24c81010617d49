"""Serialised protobuf messages into Arrow: by ``ptars`` in one pass, or by plain protobuf, slowly, to the same result.

``ptars`` is young, so this is the one module that knows it. Where it has no wheel the plain decoder
stands in, at about a twentieth of the speed; in tests it is the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from agenttrace_core.wire import otlp


class Decoder(Protocol):
    """Decodes messages of one type."""

    def list_to_record_batch(self, values: Sequence[bytes]) -> pa.RecordBatch:
        """Return one row a message, one column a field; lists and structs nested as the messages are.

        Raises:
            ValueError: a message does not parse.
        """
        ...


def decoder(name: str) -> Decoder:
    """Return the quickest decoder that there is for one of the messages of ``wire.otlp``."""
    if find_spec("ptars") is None:  # a platform for which there is no wheel
        return PlainDecoder(name)
    from ptars import HandlerPool

    handler: Decoder = HandlerPool([otlp.FILE]).get_for_message(otlp.descriptor(name))
    return handler


class PlainDecoder:
    """The decoder over plain protobuf objects."""

    def __init__(self, name: str) -> None:
        self._class = otlp.message_class(name)
        self._schema = pa.schema(_fields(otlp.descriptor(name)))

    def list_to_record_batch(self, values: Sequence[bytes]) -> pa.RecordBatch:
        """Decode; see ``Decoder``."""
        try:
            rows = [_row(self._class.FromString(value)) for value in values]
        except DecodeError as error:
            raise ValueError(str(error)) from error
        return pa.RecordBatch.from_pylist(rows, schema=self._schema)


_ARROW_TYPES = {
    FieldDescriptor.TYPE_BYTES: pa.binary(),
    FieldDescriptor.TYPE_BOOL: pa.bool_(),
    FieldDescriptor.TYPE_DOUBLE: pa.float64(),
    FieldDescriptor.TYPE_INT64: pa.int64(),
    FieldDescriptor.TYPE_INT32: pa.int32(),
    FieldDescriptor.TYPE_UINT32: pa.uint32(),
    FieldDescriptor.TYPE_FIXED32: pa.uint32(),
    FieldDescriptor.TYPE_FIXED64: pa.uint64(),
}


def _fields(descriptor: Descriptor) -> list[pa.Field]:
    return [_field(field) for field in descriptor.fields]


def _field(field: FieldDescriptor) -> pa.Field:
    kind = _ARROW_TYPES[field.type] if field.message_type is None else pa.struct(_fields(field.message_type))
    if field.is_repeated:
        return pa.field(field.name, pa.list_(pa.field("item", kind, nullable=False)), nullable=False)
    return pa.field(field.name, kind, nullable=field.has_presence)


def _row(message: Any) -> dict[str, Any]:
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Any, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_row(item) for item in value] if field.message_type is not None else list(value)
    if field.has_presence and not message.HasField(field.name):
        return None
    return _row(value) if field.message_type is not None else value
