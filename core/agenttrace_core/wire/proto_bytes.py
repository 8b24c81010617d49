"""Protobuf's wire format, as much of it as OTLP needs: https://protobuf.dev/programming-guides/encoding/."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from agenttrace_core.errors import InvalidInputError

VARINT: Final = 0
FIXED64: Final = 1
DELIMITED: Final = 2
FIXED32: Final = 5
START_GROUP: Final = 3
END_GROUP: Final = 4

Bytes: TypeAlias = bytes | memoryview


class MalformedError(InvalidInputError):
    """Bytes that are not a protobuf message."""

    kind = "malformed_protobuf"


def tag(number: int, wire_type: int) -> int:
    """Return what stands before a field on the wire."""
    return number << 3 | wire_type


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL: Final = tuple(_varint(n) for n in range(4096))


def varint(value: int) -> bytes:
    """Encode ``0 <= value < 2**64``."""
    return _SMALL[value] if value < 4096 else _varint(value)


def signed_varint(value: int) -> bytes:
    """Encode an int64, int32 or enum value: two's complement in 64 bits."""
    return varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def signed(value: int) -> int:
    """Undo ``signed_varint`` on the unsigned value read."""
    return value - (1 << 64) if value >> 63 else value


def delimited(head: bytes, data: bytes) -> bytes:
    """Return a length-delimited field; ``head`` is its encoded tag."""
    size = len(data)
    return head + (_SMALL[size] if size < 4096 else _varint(size)) + data


def fields(data: Bytes) -> list[tuple[int, Any]]:  # noqa: C901 - a call a field would cost a third more
    """Return the ``(tag, value)`` of each field of a message, in order.

    The value is a number for ``VARINT``, and the bytes, as a slice of ``data``, for the others.
    Groups are passed over.

    Raises:
        MalformedError: the bytes end early, or hold what no field begins with.
    """
    found: list[tuple[int, Any]] = []
    at = 0
    end = len(data)
    depth = 0
    value: Any
    try:
        while at < end:
            head = data[at]
            at += 1
            if head > 0x7F:
                head, at = read_varint(data, at - 1)
            wire_type = head & 7
            if wire_type == DELIMITED:
                size = data[at]
                at += 1
                if size > 0x7F:
                    size, at = read_varint(data, at - 1)
                value = data[at : at + size]
                at += size
            elif wire_type == VARINT:
                value, at = read_varint(data, at)
            elif wire_type == FIXED64:
                value = data[at : at + 8]
                at += 8
            elif wire_type == FIXED32:
                value = data[at : at + 4]
                at += 4
            else:
                depth += _group_step(wire_type, depth)
                continue
            if head < 8:
                raise MalformedError(f"a field that ends at byte {at} has the number 0")
            if not depth:
                found.append((head, value))
    except IndexError as error:
        raise MalformedError(f"the message ends within a field at byte {end}") from error
    if at > end or depth:
        raise MalformedError(f"a field or group ends beyond byte {end}")
    return found


def _group_step(wire_type: int, depth: int) -> int:
    if wire_type == START_GROUP:
        return 1
    if wire_type == END_GROUP and depth:
        return -1
    raise MalformedError(f"wire type {wire_type} begins no field")


def read_varint(data: Bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at``, cut to 64 bits, and where it ends.

    Raises:
        MalformedError: it is longer than 10 bytes.
        IndexError: the data end within it.
    """
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise MalformedError(f"a number at byte {at - 10} is longer than 10 bytes")
