"""Divides OTLP requests by whole spans, or log records, without reading or writing what is in them.

A request is a tree of bytes: resources, in them scopes, in them spans. A part is the same tree with fewer
spans: their bytes are those of the request, in its order, and whatever else a resource or scope
says (attributes, schema URL, fields that are unknown here) is repeated in each part that has spans of it.
Traces and logs are alike in this: their trees have the same field numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agenttrace_core.model.ids import TRACE_ID_BYTES
from agenttrace_core.schema.keys import mixed
from agenttrace_core.wire.columns import decode_ids, fixed_width
from agenttrace_core.wire.proto_bytes import (
    DELIMITED,
    END_GROUP,
    FIXED32,
    FIXED64,
    START_GROUP,
    VARINT,
    MalformedError,
    read_varint,
    tag,
    varint,
)

_RESOURCES: Final = tag(1, DELIMITED)
_INNER: Final = tag(2, DELIMITED)
_FRAME_BYTES: Final = 6
"""The most that a message of up to 4 GiB takes beside its own bytes: a tag of one, a length of up to five."""


def by_trace(body: bytes, parts: int) -> Mapping[int, bytes]:
    """Divide an ``ExportTraceServiceRequest`` whose trace ids are valid, so that each trace is in one part.

    Returns the parts by number, ``0 <= number < parts``: that of a trace follows from its id alone, and is the same
    in every process and release. A request of one part is returned as it is.

    Raises:
        CorruptionError: a trace id does not have 16 bytes.
    """
    trace_ids, _ = decode_ids(body)
    words = fixed_width(trace_ids, TRACE_ID_BYTES).view("<u8").reshape(-1, 2)
    numbers = (mixed(words[:, 0] ^ mixed(words[:, 1])) % np.uint64(parts)).tolist()
    first = numbers[0] if numbers else 0
    if all(number == first for number in numbers):
        return {first: body}
    return _divided(_Tree.of(body), numbers)


def by_size(body: bytes, limit: int) -> Sequence[bytes]:
    """Divide a request of traces or logs into parts of at most ``limit`` bytes, in order.

    A part that is longer has one span, or log record, that cannot be divided. A request that is no longer
    is returned as it is.
    """
    if len(body) <= limit:
        return [body]
    tree = _Tree.of(body)
    return list(_divided(tree, _numbers_by_size(tree, limit)).values())


@dataclass(frozen=True, slots=True)
class _Level:
    """A message of the tree: where its children begin and end, tags included, and its other fields (``head``)."""

    head: bytes
    starts: list[int]
    stops: list[int]

    @classmethod
    def of(cls, data: bytes, at: int, end: int, child: int) -> _Level:
        """Read the message at ``data[at:end]``. It is one that a parser has read."""
        head: list[bytes] = []
        starts: list[int] = []
        stops: list[int] = []
        while at < end:
            start = at
            # Nearly every span has a tag of one byte, and a length of one or two.
            if data[at] == child and data[at + 1] < 0x80:
                at += 2 + data[at + 1]
            elif data[at] == child and data[at + 2] < 0x80:
                at += 3 + (data[at + 1] & 0x7F | data[at + 2] << 7)
            else:
                number, at = read_varint(data, at)
                at = _after(data, at, number)
                if number != child:
                    head.append(data[start:at])
                    continue
            starts.append(start)
            stops.append(at)
        return cls(b"".join(head), starts, stops)

    def children(self, data: bytes, child: int) -> list[_Level]:
        """Read the children, whose own children have the tag ``child``."""
        return [
            _Level.of(data, _content(data, start), stop, child)
            for start, stop in zip(self.starts, self.stops, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Tree:
    """A request: its levels down to the spans, whose places are the children of the innermost."""

    data: bytes
    head: bytes
    resources: list[tuple[bytes, list[_Level]]]

    @classmethod
    def of(cls, data: bytes) -> _Tree:
        top = _Level.of(data, 0, len(data), _RESOURCES)
        resources = top.children(data, _INNER)
        return cls(data, top.head, [(resource.head, resource.children(data, _INNER)) for resource in resources])


class _Message:
    """A message as pieces that are joined once, when it is whole."""

    __slots__ = ("pieces", "size")

    def __init__(self, head: bytes) -> None:
        self.pieces: list[bytes | memoryview] = [head]
        self.size = len(head)

    def add(self, piece: memoryview) -> None:
        self.pieces.append(piece)
        self.size += len(piece)

    def nest(self, number: int, inner: _Message) -> None:
        frame = varint(number) + varint(inner.size)
        self.pieces += [frame, *inner.pieces]
        self.size += len(frame) + inner.size


def _divided(tree: _Tree, numbers: Sequence[int]) -> dict[int, bytes]:
    """Return the parts by number; ``numbers`` has that of each span, in order."""
    data = memoryview(tree.data)
    parts: dict[int, _Message] = {}
    done = 0
    for resource_head, scopes in tree.resources:
        of_resource: dict[int, _Message] = {}
        for scope in scopes:
            count = len(scope.starts)
            for number, message in _divided_scope(data, scope, numbers[done : done + count]).items():
                of_resource.setdefault(number, _Message(resource_head)).nest(_INNER, message)
            done += count
        for number, message in of_resource.items():
            parts.setdefault(number, _Message(tree.head)).nest(_RESOURCES, message)
    return {number: b"".join(message.pieces) for number, message in parts.items()}


def _divided_scope(data: memoryview, scope: _Level, numbers: Sequence[int]) -> dict[int, _Message]:
    """Return a scope's parts; spans that were neighbours, and still are, are one piece."""
    parts: dict[int, _Message] = {}
    first = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[first] or scope.starts[i] != scope.stops[i - 1]:
            part = parts.setdefault(numbers[first], _Message(scope.head))
            part.add(data[scope.starts[first] : scope.stops[i - 1]])
            first = i
    return parts


def _numbers_by_size(tree: _Tree, limit: int) -> list[int]:
    """Number the parts of spans so that each is as long as it may be."""
    numbers: list[int] = []
    number, size = 0, len(tree.head)
    is_empty = True
    for resource_head, scopes in tree.resources:
        resource_cost = _FRAME_BYTES + len(resource_head)
        size += resource_cost
        for scope in scopes:
            scope_cost = _FRAME_BYTES + len(scope.head)
            size += scope_cost
            for start, stop in zip(scope.starts, scope.stops, strict=True):
                if size + stop - start > limit and not is_empty:
                    number += 1
                    size = len(tree.head) + resource_cost + scope_cost
                is_empty = False
                size += stop - start
                numbers.append(number)
    return numbers


def _content(data: bytes, at: int) -> int:
    """Return where the content of the field at ``at`` begins: behind its tag and its length."""
    return read_varint(data, read_varint(data, at)[1])[1]


def _after(data: bytes, at: int, number: int) -> int:
    """Return where the field ends whose tag ``number`` ends at ``at``."""
    wire_type = number & 7
    if wire_type == DELIMITED:
        size, at = read_varint(data, at)
        return at + size
    if wire_type == VARINT:
        return read_varint(data, at)[1]
    if wire_type in (FIXED64, FIXED32):
        return at + (8 if wire_type == FIXED64 else 4)
    if wire_type == START_GROUP:
        return _after_group(data, at)
    raise MalformedError(f"wire type {wire_type} begins no field")


def _after_group(data: bytes, at: int) -> int:
    depth = 1
    while depth:
        number, at = read_varint(data, at)
        if number & 7 == START_GROUP:
            depth += 1
        elif number & 7 == END_GROUP:
            depth -= 1
        else:
            at = _after(data, at, number)
    return at
