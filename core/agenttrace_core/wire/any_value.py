"""OTLP's ``AnyValue`` and ``KeyValue``: OTLP/JSON <-> protobuf, at any depth, without recursion.

Both ways take time in proportion to the size alone: nested values are written from the last byte to
the first, so that each length is known when it is needed, and read as views of one buffer.

What is no more than its own loss is kept: a nested value whose bytes are not protobuf is shown as
``bytesValue``. Bad UTF-8 is shown with U+FFFD. Unknown fields are not shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agenttrace_core.wire.proto_bytes import (
    Bytes,
    MalformedError,
    delimited,
    fields,
    read_varint,
    signed,
    signed_varint,
    varint,
)
from agenttrace_core.wire.scalars import DOUBLE, INT64, blob, blob_json, integer, real, real_json
from agenttrace_core.wire.utf8 import bytes_of, text_of
from agenttrace_core.wire.wrong_field import WrongFieldError, not_a

Json = dict[str, Any]

_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES = (0x0A, 0x10, 0x18, 0x21, 0x2A, 0x32, 0x3A)
_KEY, _VALUE, _VALUES = (0x0A, 0x12, 0x0A)

_VALUE_HEAD: Final = bytes([_VALUE])
_VALUES_HEAD: Final = bytes([_VALUES])

_SHORT: Final = 4096
_TEXT_HEADS: Final = tuple(
    _VALUE_HEAD + varint(1 + len(varint(size)) + size) + b"\x0a" + varint(size) for size in range(_SHORT)
)
"""In a ``KeyValue``, all that stands between the key and the bytes of a text, by their number."""
_TEXT_HEAD_BY_REST: Final = {len(head) + size: head for size, head in enumerate(_TEXT_HEADS)}
"""The same by the number of bytes after the key."""

_KEPT_KEYS: Final = 8192
_keys: Final[dict[str, bytes]] = {}


# --- JSON to protobuf ---


def encode_attributes(head: bytes, pairs: object) -> bytes:
    """Return an array of ``{"key": …, "value": {…}}`` as fields whose tag is ``head``, a ``KeyValue`` each.

    Raises:
        WrongFieldError: a value has a wrong type.
    """
    if type(pairs) is not list:
        raise not_a("an array", pairs)
    out: list[bytes] = []
    try:
        for pair in pairs:
            out.append(delimited(head, _encode_pair(pair)))  # noqa: PERF401 - its length is the index of what fails
    except WrongFieldError as error:
        raise error.under(len(out)) from None
    return b"".join(out)


def _encode_pair(pair: object) -> bytes:
    if type(pair) is not dict:
        raise not_a("an object", pair)
    key = pair.get("key")
    head = _keys.get(key) if type(key) is str else None
    if head is None:
        head = _encode_key(key)
    value = pair.get("value")
    if value is None:
        return head
    if type(value) is dict and len(value) == 1 and type(text := value.get("stringValue")) is str:
        data = bytes_of(text)
        if len(data) < _SHORT:
            return head + _TEXT_HEADS[len(data)] + data
    try:
        return head + delimited(_VALUE_HEAD, encode_any_value(value))
    except WrongFieldError as error:
        raise error.under("value") from None


def encode_any_value(value: object) -> bytes:
    """Return the ``AnyValue`` message of ``{"stringValue": …}`` or one of its kin; ``{}`` is an empty value.

    Raises:
        WrongFieldError: a value has a wrong type.
    """
    if type(value) is not dict:
        raise not_a("an object", value)
    out = b""
    for name, inner in value.items():
        if inner is None:
            continue
        encode = _ENCODERS.get(name)
        if encode is not None:
            try:
                out += encode(inner)
            except WrongFieldError as error:
                raise error.under(name) from None
        elif name in _NESTED:
            out += _encode_nested(name, inner)
    return out


def _encode_key(key: object) -> bytes:
    if key is None:
        return b""
    if type(key) is not str:
        raise not_a("text", key).under("key")
    head = delimited(b"\x0a", bytes_of(key))
    if len(head) < 256:
        if len(_keys) >= _KEPT_KEYS:
            _keys.clear()
        _keys[key] = head
    return head


def _encode_string(value: object) -> bytes:
    if type(value) is not str:
        raise not_a("text", value)
    return delimited(b"\x0a", bytes_of(value))


def _encode_bool(value: object) -> bytes:
    if type(value) is not bool:
        raise not_a("true or false", value)
    return b"\x10\x01" if value else b"\x10\x00"


def _encode_int(value: object) -> bytes:
    return b"\x18" + signed_varint(integer(value, INT64))


def _encode_double(value: object) -> bytes:
    return b"\x21" + DOUBLE.pack(real(value))


def _encode_bytes(value: object) -> bytes:
    return delimited(b"\x3a", blob(value))


_ENCODERS: Final[dict[str, Callable[[object], bytes]]] = {
    "stringValue": _encode_string, "string_value": _encode_string,
    "boolValue": _encode_bool, "bool_value": _encode_bool,
    "intValue": _encode_int, "int_value": _encode_int,
    "doubleValue": _encode_double, "double_value": _encode_double,
    "bytesValue": _encode_bytes, "bytes_value": _encode_bytes,
}  # fmt: skip

_NESTED: Final = {
    "arrayValue": b"\x2a", "array_value": b"\x2a", "kvlistValue": b"\x32", "kvlist_value": b"\x32",
}  # fmt: skip


class _Steps:
    """The path to a nested value: a step, and what it is a step from."""

    __slots__ = ("step", "up")

    def __init__(self, up: _Steps | None, step: str | int) -> None:
        self.up = up
        self.step = step

    def wrap(self, error: WrongFieldError) -> WrongFieldError:
        """Put the path in front of the error's."""
        steps: list[str | int] = []
        at: _Steps | None = self
        while at is not None:
            steps.append(at.step)
            at = at.up
        steps.reverse()
        return error.under(*_shortened(steps))


def _shortened(steps: list[str | int]) -> list[str | int]:
    return steps if len(steps) <= 40 else [*steps[:20], f"({len(steps) - 30} more)", *steps[-10:]]


def _encode_nested(name: str, inner: object) -> bytes:
    """Write an array or key-value list backwards: ``_Backwards.out`` holds its pieces, last one first."""
    writer = _Backwards()
    writer.waiting.append((writer.container, (name, inner), _Steps(None, name)))
    while writer.waiting:
        step, what, path = writer.waiting.pop()
        try:
            step(what, path)
        except WrongFieldError as error:
            raise path.wrap(error) from None
    writer.out.reverse()
    return b"".join(writer.out)


_Step = Callable[[Any, _Steps], None]


class _Backwards:
    """Each method writes one thing, or puts its parts in ``waiting``, from where the last put goes first."""

    __slots__ = ("out", "size", "waiting")

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.size = 0
        self.waiting: list[tuple[_Step, Any, _Steps]] = []

    def piece(self, data: bytes, _: _Steps) -> None:
        self.out.append(data)
        self.size += len(data)

    def head(self, tag_and_mark: tuple[bytes, int], path: _Steps) -> None:
        """Write what stands before everything that was written since ``size`` was ``mark``."""
        tag, mark = tag_and_mark
        self.piece(tag + varint(self.size - mark), path)

    def container(self, member: tuple[str, Any], path: _Steps) -> None:
        name, inner = member
        if type(inner) is not dict:
            raise not_a("an object", inner)
        values = inner.get("values")
        if type(values) is not list:
            if values is not None:
                raise not_a("an array", values).under("values")
            values = []
        self.waiting.append((self.head, (_NESTED[name], self.size), path))
        step: _Step = self.element if name.startswith("array") else self.pair
        path = _Steps(path, "values")
        self.waiting.extend((step, value, _Steps(path, i)) for i, value in enumerate(values))

    def element(self, value: Any, path: _Steps) -> None:
        self.message(_VALUES_HEAD, {} if value is None else value, path)

    def value(self, value: Any, path: _Steps) -> None:
        self.message(_VALUE_HEAD, value, path)

    def pair(self, pair: Any, path: _Steps) -> None:
        if type(pair) is not dict:
            raise not_a("an object", pair)
        self.waiting.append((self.head, (_VALUES_HEAD, self.size), path))
        self.waiting.append((self.piece, _encode_key(pair.get("key")), path))
        if pair.get("value") is not None:
            self.waiting.append((self.value, pair["value"], _Steps(path, "value")))

    def message(self, tag: bytes, value: Any, path: _Steps) -> None:
        if type(value) is not dict:
            raise not_a("an object", value)
        self.waiting.append((self.head, (tag, self.size), path))
        if _NESTED.keys().isdisjoint(value):
            self.waiting.append((self.scalars, value, path))
        else:
            self.waiting.extend((self.member, item, path) for item in value.items())

    def scalars(self, value: Any, path: _Steps) -> None:
        self.piece(encode_any_value(value), path)

    def member(self, item: tuple[str, Any], path: _Steps) -> None:
        name, inner = item
        if name in _NESTED and inner is not None:
            self.container(item, _Steps(path, name))
        else:
            self.piece(encode_any_value({name: inner}), path)


# --- protobuf to JSON ---


def decode_key_value(data: Bytes) -> Json:
    """Return ``{"key": …, "value": {…}}`` of a ``KeyValue`` message.

    Raises:
        MalformedError: it, or its value, is not protobuf. (Its value's own nested values may be.)
    """
    quick = _decode_usual_pair(data) if type(data) is bytes else None
    if quick is not None:
        return quick
    pair: Json = {"key": ""}
    for tag, value in fields(data):
        if tag == _KEY:
            pair["key"] = text_of(value)
        elif tag == _VALUE:
            pair["value"] = decode_any_value(value)
    return pair


def _decode_usual_pair(data: bytes) -> Json | None:
    """Read what nearly all attributes are: a short key, then a text that is not long, or a number."""
    if len(data) < 5 or data[0] != _KEY or data[1] > 0x7F:
        return None
    key_end = 2 + data[1]
    rest = len(data) - key_end
    head = _TEXT_HEAD_BY_REST.get(rest)
    try:
        if head is not None and data.startswith(head, key_end):
            return {"key": data[2:key_end].decode(), "value": {"stringValue": data[key_end + len(head) :].decode()}}
        if rest > 3 and data[key_end] == _VALUE and data[key_end + 1] == rest - 2:
            value = _decode_number(data[key_end + 2], data[key_end + 3 :])
            return value and {"key": data[2:key_end].decode(), "value": value}
    except UnicodeDecodeError:
        pass
    return None


def _decode_number(tag: int, data: bytes) -> Json | None:
    if tag == _INT:
        number, end = read_varint(data + b"\0", 0)  # what the zero ends was cut short
        return {"intValue": str(signed(number))} if end == len(data) else None
    if tag == _DOUBLE and len(data) == DOUBLE.size:
        return {"doubleValue": real_json(DOUBLE.unpack(data)[0])}
    return None


def decode_any_value(data: Bytes) -> Json:
    """Return ``{"stringValue": …}`` or one of its kin; ``{}`` for an empty value.

    Raises:
        MalformedError: it is not protobuf. (Its nested values may be anything.)
    """
    out: Json = {}
    for tag, value in fields(data):
        decode = _DECODERS.get(tag)
        if decode is not None:
            out = decode(value)
    return out


def _decode_nested(tag: int, data: Bytes) -> Json:
    """Read an array or key-value list. Each value joins its parent before it is filled."""
    top: Json = {}
    try:
        waiting = _children(top, tag, memoryview(data))
        while waiting:
            target, view = waiting.pop()
            for inner_tag, value in fields(view):
                if inner_tag not in _DECODERS:
                    continue
                target.clear()
                if inner_tag in _CONTAINERS:
                    waiting.extend(_children(target, inner_tag, value))
                else:
                    target.update(_DECODERS[inner_tag](value))
    except MalformedError:
        return {"bytesValue": blob_json(data)}
    return top


def _children(target: Json, tag: int, data: Bytes) -> list[tuple[Json, Bytes]]:
    """Put an empty dict for each value of a container into ``target``; return them with their bytes."""
    values: list[Json] = []
    target[_CONTAINERS[tag]] = {"values": values}
    children: list[tuple[Json, Bytes]] = []
    for inner_tag, value in fields(data):
        if inner_tag != _VALUES:
            continue
        child: Json = {}
        if tag == _ARRAY:
            values.append(child)
            children.append((child, value))
        else:
            values.append(pair := {"key": ""})
            children += _pair(pair, child, value)
    return children


def _pair(pair: Json, child: Json, data: Bytes) -> list[tuple[Json, Bytes]]:
    children: list[tuple[Json, Bytes]] = []
    for tag, value in fields(data):
        if tag == _KEY:
            pair["key"] = text_of(value)
        elif tag == _VALUE:
            pair["value"] = child
            children = [(child, value)]
    return children


_CONTAINERS: Final = {_ARRAY: "arrayValue", _KVLIST: "kvlistValue"}

_DECODERS: Final[dict[int, Callable[[Any], Json]]] = {
    _STRING: lambda data: {"stringValue": text_of(data)},
    _BOOL: lambda number: {"boolValue": number != 0},
    _INT: lambda number: {"intValue": str(signed(number))},
    _DOUBLE: lambda data: {"doubleValue": real_json(DOUBLE.unpack(data)[0])},
    _BYTES: lambda data: {"bytesValue": blob_json(data)},
    _ARRAY: lambda data: _decode_nested(_ARRAY, data),
    _KVLIST: lambda data: _decode_nested(_KVLIST, data),
}
