"""A whole OTLP/JSON export request of any signal into protobuf, where one bad item costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire import json_text
from agenttrace_core.wire.otlp_messages import RESOURCE_HEAD, SCOPE_HEAD
from agenttrace_core.wire.proto_bytes import delimited
from agenttrace_core.wire.wrong_field import WrongFieldError, not_a

_RESOURCE_ITEM = b"\x0a"  # ExportTraceServiceRequest.resource_spans, ExportLogsServiceRequest.resource_logs
_SCOPE_ITEM = b"\x12"  # ResourceSpans.scope_spans, ResourceLogs.scope_logs
_ITEM = b"\x12"  # ScopeSpans.spans, ScopeLogs.log_records


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item that cannot be stored. ``reason`` begins with its path; ``item_json`` is it, as JSON."""

    reason: str
    item_json: bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """What a signal calls its levels, the present name first, and how one of its items becomes protobuf."""

    resources: tuple[str, ...]
    scopes: tuple[str, ...]
    items: tuple[str, ...]
    encode: Callable[[object], bytes]


class Request:
    """What is made of a request: ``body()`` is protobuf of the accepted items, in order."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.accepted = 0
        self.refused: list[Refusal] = []
        self._resources: list[bytes] = []

    def body(self) -> bytes:
        """Return the export request."""
        return b"".join(self._resources)

    def read(self, document: object, shape: Shape) -> None:
        """Add the items of an OTLP/JSON request.

        Raises:
            InvalidInputError: something above the items has a wrong type; the message says where.
        """
        if type(document) is not dict:
            raise InvalidInputError(f"the body: {not_a(f'an object with {shape.resources[0]!r}', document)}")
        for path, resource in _members(document, shape.resources, ""):
            self._read_resource(resource, shape, path)

    def _read_resource(self, resource: Any, shape: Shape, path: str) -> None:
        if type(resource) is not dict:
            raise InvalidInputError(f"{path}: {not_a('an object', resource)}")
        head, problem = _head(RESOURCE_HEAD.encode, resource, path)
        scopes = [
            encoded
            for scope_path, scope in _members(resource, shape.scopes, path + ".")
            if (encoded := self._read_scope(scope, shape, scope_path, problem))
        ]
        if scopes:
            self._resources.append(delimited(_RESOURCE_ITEM, head + b"".join(scopes)))

    def _read_scope(self, scope: Any, shape: Shape, path: str, problem: str) -> bytes:
        """Return the encoded scope with its accepted items; nothing if it has none."""
        if type(scope) is not dict:
            raise InvalidInputError(f"{path}: {not_a('an object', scope)}")
        head, own_problem = _head(SCOPE_HEAD.encode, scope, path)
        problem = problem or own_problem
        encode = shape.encode
        items: list[bytes] = []
        for item_path, item in _members(scope, shape.items, path + "."):
            try:
                if problem:
                    raise WrongFieldError(problem)
                items.append(delimited(_ITEM, encode(item)))
            except WrongFieldError as error:
                self._refuse(problem or _at(item_path, error), item)
        self.accepted += len(items)
        return delimited(_SCOPE_ITEM, head + b"".join(items)) if items else b""

    def _refuse(self, reason: str, item: object) -> None:
        self.refused.append(Refusal(reason, json_text.dumps_exactly(item)))


def _head(encode: Callable[[object], bytes], value: object, path: str) -> tuple[bytes, str]:
    """Encode what a level says of itself; if that is wrong, say why, for the items below to be refused with."""
    try:
        return encode(value), ""
    except WrongFieldError as error:
        return b"", _at(path, error)


def _at(path: str, error: WrongFieldError) -> str:
    return f"{path}.{error}" if error.path else f"{path}: {error}"


def _members(container: dict[str, Any], names: tuple[str, ...], prefix: str) -> Iterator[tuple[str, Any]]:
    for name in names:
        members = container.get(name)
        if members is None:
            continue
        if type(members) is not list:
            raise InvalidInputError(f"{prefix}{name}: {not_a('an array', members)}")
        for i, member in enumerate(members):
            yield f"{prefix}{name}[{i}]", member
