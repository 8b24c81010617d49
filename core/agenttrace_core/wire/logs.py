"""OTLP logs: GenAI events are kept, to be joined to their spans; other records are refused.

An event is a record with an ``event_name``, or with the attribute ``event.name`` where the sender
is older. GenAI's begin with ``gen_ai.``: the content of calls
(``gen_ai.client.inference.operation.details``, ``gen_ai.user.message``, ``gen_ai.choice``, …),
``gen_ai.evaluation.result``, exceptions.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire import json_text
from agenttrace_core.wire.any_value import decode_key_value
from agenttrace_core.wire.envelope import Refusal, Request, Shape
from agenttrace_core.wire.otlp_messages import LOG_RECORD, RESOURCE, SCOPE
from agenttrace_core.wire.proto_bytes import DELIMITED, MalformedError, delimited, fields, tag, varint
from agenttrace_core.wire.utf8 import text_of

GENAI_PREFIX: Final = "gen_ai."
_NOT_AN_EVENT: Final = (
    f"AgentTrace keeps log records that are GenAI events: an event name beginning with {GENAI_PREFIX!r}"
)

_LIST_1, _ITEM_2, _URL_3 = (tag(n, DELIMITED) for n in (1, 2, 3))
_ATTRIBUTES, _EVENT_NAME = tag(6, DELIMITED), tag(12, DELIMITED)


@dataclass(frozen=True, slots=True)
class SelectedLogs:
    """``body`` is an ``ExportLogsServiceRequest`` of the ``kept`` records, empty if there are none.

    The records are as received, and so is the body if nothing was refused. ``reason`` says why the
    ``refused`` were; it is empty where none was.
    """

    body: bytes
    kept: int
    refused: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JsonLogs:
    """A request in JSON, as an ``ExportLogsServiceRequest`` and what could not be read of it."""

    body: bytes
    records: int
    refused: tuple[Refusal, ...]


def select_genai_events(body: bytes) -> SelectedLogs:
    """Keep what is a GenAI event of an ``ExportLogsServiceRequest`` in protobuf.

    Raises:
        InvalidInputError: the body does not parse, down to the attributes of its records.
    """
    selection = _Selection()
    try:
        selected = _map_items(body, _LIST_1, selection.resource_logs)
    except MalformedError as error:
        raise InvalidInputError(f"the body is not an OTLP ExportLogsServiceRequest in protobuf: {error}") from error
    if not selection.refused:
        return SelectedLogs(body if selection.kept else b"", selection.kept, 0)
    total = selection.kept + selection.refused
    reason = f"{selection.refused} of {total} log records refused: {_NOT_AN_EVENT}"
    return SelectedLogs(selected, selection.kept, selection.refused, reason)


def logs_from_json(body: bytes) -> JsonLogs:
    """Read an OTLP/JSON ``ExportLogsServiceRequest``, of which GenAI events are yet to be selected.

    Raises:
        InvalidInputError: it is not JSON, or something above the records has the wrong type.
    """
    request = Request()
    request.read(json_text.loads(body), LOGS)
    return JsonLogs(request.body(), request.accepted, tuple(request.refused))


LOGS: Final = Shape(
    resources=("resourceLogs", "resource_logs"),
    scopes=("scopeLogs", "scope_logs", "instrumentationLibraryLogs", "instrumentation_library_logs"),
    items=("logRecords", "log_records", "logs"),
    encode=LOG_RECORD.encode,
)


class _Selection:
    """Walks down to the records; each method returns what is left of its message, or nothing."""

    def __init__(self) -> None:
        self.kept = 0
        self.refused = 0

    def resource_logs(self, data: bytes) -> bytes:
        kept = self.kept
        _check(data, RESOURCE.decode)
        left = _map_items(data, _ITEM_2, self._scope_logs)
        return left if self.kept > kept else b""

    def _scope_logs(self, data: bytes) -> bytes:
        kept = self.kept
        _check(data, SCOPE.decode)
        left = _map_items(data, _ITEM_2, self._record)
        return left if self.kept > kept else b""

    def _record(self, data: bytes) -> bytes:
        LOG_RECORD.decode(data)
        if not _event_name(data).startswith(GENAI_PREFIX):
            self.refused += 1
            return b""
        self.kept += 1
        return data


def _check(data: bytes, decode: Callable[[bytes], object]) -> None:
    """Raise ``MalformedError`` where the resource or scope of a level does not parse."""
    for number, value in fields(data):
        if number == _LIST_1:
            decode(value)


def _map_items(data: bytes, item: int, convert: Callable[[bytes], bytes]) -> bytes:
    """Return a message with each ``item`` field converted, left out if nothing is left of it."""
    out = []
    for number, value in fields(data):
        if number == item:
            left = convert(value)
            if left:
                out.append(delimited(varint(number), left))
        elif number in (_LIST_1, _URL_3):
            out.append(delimited(varint(number), value))
    return b"".join(out)


def _event_name(record: bytes) -> str:
    older = ""
    for number, value in fields(record):
        if number == _EVENT_NAME and value:
            return text_of(value)
        if number == _ATTRIBUTES:
            pair = decode_key_value(value)
            if pair["key"] == "event.name":
                older = pair.get("value", {}).get("stringValue", older)
    return older
