"""One declaration of a message's fields, from which both directions follow: OTLP/JSON <-> protobuf.

A message knows its fields by their names in JSON (lowerCamelCase, and as in the ``.proto`` file,
which every proto3 JSON reader must accept) and by their tags on the wire. Fields that it does
not know are ignored, and so are nulls. Presence is kept: a field that was sent with its default
value is written with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agenttrace_core.wire import any_value, scalars
from agenttrace_core.wire.proto_bytes import (
    DELIMITED,
    FIXED32,
    FIXED64,
    VARINT,
    Bytes,
    delimited,
    fields,
    signed,
    signed_varint,
    tag,
    varint,
)
from agenttrace_core.wire.scalars import INT32, UINT32, UINT64
from agenttrace_core.wire.utf8 import bytes_of, text_of
from agenttrace_core.wire.wrong_field import WrongFieldError, not_a

Json = dict[str, Any]
Encode = Callable[[object], bytes]
Decode = Callable[[Any], Any]

_HUMP: Final = re.compile("(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its JSON name, its tag, and how its value is written, tag included, and read.

    ``repeated`` says that each occurrence adds to a list; a message that is not repeated and occurs
    twice is merged.
    """

    name: str
    tag: int
    encode: Encode
    decode: Decode
    repeated: bool = False
    aliases: tuple[str, ...] = ()


class Message:
    """The fields that are read and written of one message type."""

    def __init__(self, *declared: Field) -> None:
        """``declared`` are the fields; others are ignored."""
        self._encoders: dict[str, Encode] = {}
        for field in declared:
            for name in (field.name, *field.aliases):
                self._encoders[name] = self._encoders[_HUMP.sub("_", name).lower()] = field.encode
        self._decoders = {field.tag: (field.name, field.decode, field.repeated) for field in declared}

    def encode(self, value: object) -> bytes:
        """Return the protobuf message of a JSON object.

        Raises:
            WrongFieldError: it is not an object, or a field's value has a wrong type or range.
        """
        if type(value) is not dict:
            raise not_a("an object", value)
        out = []
        encoders = self._encoders
        for name, inner in value.items():
            encode = encoders.get(name)
            if encode is None or inner is None:
                continue
            try:
                out.append(encode(inner))
            except WrongFieldError as error:
                raise error.under(name) from None
        return b"".join(out)

    def decode(self, data: Bytes) -> Json:
        """Return the JSON object of a protobuf message.

        Raises:
            MalformedError: it is not protobuf.
        """
        out: Json = {}
        decoders = self._decoders
        for number, raw in fields(data):
            known = decoders.get(number)
            if known is None:
                continue
            name, decode, repeated = known
            value = decode(raw)
            if repeated:
                out.setdefault(name, []).append(value)
            elif type(value) is dict and name in out:
                out[name] |= value
            else:
                out[name] = value
        return out


def text(name: str, number: int) -> Field:
    """A ``string``."""
    head = varint(tag(number, DELIMITED))

    def encode(value: object) -> bytes:
        if type(value) is not str:
            raise not_a("text", value)
        return delimited(head, bytes_of(value))

    return Field(name, tag(number, DELIMITED), encode, text_of)


def texts(name: str, number: int) -> Field:
    """A ``repeated string``."""
    one = text(name, number)
    return Field(name, one.tag, _each(one.encode), one.decode, repeated=True)


def identity(name: str, number: int, size: int) -> Field:
    """The id of the thing itself, of ``size`` bytes: hex, never all zeros."""
    head = varint(tag(number, DELIMITED)) + varint(size)
    return Field(name, tag(number, DELIMITED), lambda value: head + scalars.identity(value, size), _hex)


def loose_identity(name: str, number: int, size: int) -> Field:
    """The id of another thing, which may be empty, all zeros, or of a wrong length."""
    head = varint(tag(number, DELIMITED))
    return Field(name, tag(number, DELIMITED), lambda value: delimited(head, scalars.loose_identity(value, size)), _hex)


def fixed64(name: str, number: int) -> Field:
    """A ``fixed64``, written in JSON as text."""
    head = varint(tag(number, FIXED64))

    def encode(value: object) -> bytes:
        return head + scalars.integer(value, UINT64).to_bytes(8, "little")

    return Field(name, tag(number, FIXED64), encode, lambda raw: str(int.from_bytes(raw, "little")))


def fixed32(name: str, number: int) -> Field:
    """A ``fixed32``."""
    head = varint(tag(number, FIXED32))

    def encode(value: object) -> bytes:
        return head + scalars.integer(value, UINT32).to_bytes(4, "little")

    return Field(name, tag(number, FIXED32), encode, lambda raw: int.from_bytes(raw, "little"))


def uint32(name: str, number: int) -> Field:
    """A ``uint32``."""
    head = varint(tag(number, VARINT))
    return Field(
        name,
        tag(number, VARINT),
        lambda value: head + varint(scalars.integer(value, UINT32)),
        lambda raw: raw & 0xFFFF_FFFF,
    )


def enum(name: str, number: int, names: Mapping[str, int]) -> Field:
    """An enum, read as a number or a name, written as a number."""
    head = varint(tag(number, VARINT))
    return Field(name, tag(number, VARINT), lambda value: head + signed_varint(scalars.enum(value, names)), _int32)


def message(name: str, number: int, of: Message, *aliases: str) -> Field:
    """A message that occurs once."""
    head = varint(tag(number, DELIMITED))
    return Field(
        name, tag(number, DELIMITED), lambda value: delimited(head, of.encode(value)), of.decode, aliases=aliases
    )


def messages(name: str, number: int, of: Message) -> Field:
    """A ``repeated`` message."""
    one = message(name, number, of)
    return Field(name, one.tag, _each(one.encode), one.decode, repeated=True)


def attributes(name: str, number: int) -> Field:
    """``repeated KeyValue``, in order, doubles and empty keys among them."""
    head = varint(tag(number, DELIMITED))

    return Field(
        name,
        tag(number, DELIMITED),
        lambda value: any_value.encode_attributes(head, value),
        any_value.decode_key_value,
        repeated=True,
    )


def any_values(name: str, number: int) -> Field:
    """An ``AnyValue``."""
    head = varint(tag(number, DELIMITED))

    def encode(value: object) -> bytes:
        return delimited(head, any_value.encode_any_value(value))

    return Field(name, tag(number, DELIMITED), encode, any_value.decode_any_value)


def _each(encode: Encode) -> Encode:
    def encode_all(values: object) -> bytes:
        if type(values) is not list:
            raise not_a("an array", values)
        out: list[bytes] = []
        try:
            for value in values:
                out.append(encode(value))  # noqa: PERF401 - its length is the index of what fails
        except WrongFieldError as error:
            raise error.under(len(out)) from None
        return b"".join(out)

    return encode_all


def _hex(raw: Bytes) -> str:
    return raw.hex()


def _int32(raw: int) -> int:
    number = signed(raw)
    return number if INT32[0] <= number <= INT32[1] else ((number + 2**31) & 0xFFFF_FFFF) - 2**31
