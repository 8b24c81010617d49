"""OTLP/JSON traces to protobuf: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.

To the letter, and a little beyond it, for what senders and files in the wild hold:

- names as in the ``.proto`` files, and those of older OTLP and of Tempo's exports (``batches``,
  ``instrumentationLibrarySpans``, ``instrumentationLibrary``);
- enum values by name, 64-bit integers as numbers, ids in padded base64;
- any depth of nesting, lone surrogates, empty and repeated keys.

A span that cannot be stored is refused by itself: an id that is none, a time below zero, a value of
the wrong type. A resource or scope that cannot be stored costs the spans in it, and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agenttrace_core.wire import json_text
from agenttrace_core.wire.envelope import Refusal, Request, Shape
from agenttrace_core.wire.otlp_messages import SPAN
from agenttrace_core.wire.wrong_field import WrongFieldError, not_a

__all__ = ["TRACES", "JsonTraces", "Refusal", "encode_span", "read_traces", "traces_from_json"]


@dataclass(frozen=True, slots=True)
class JsonTraces:
    """A request in JSON, as what can be stored of it and what cannot.

    ``body`` is an ``ExportTraceServiceRequest`` of the accepted spans, in order, empty if there
    are none; ``spans`` is their number. ``trace_ids`` are theirs, hex, where the reader may have made
    them (``simple``), and empty otherwise.
    """

    body: bytes
    spans: int
    refused: tuple[Refusal, ...]
    trace_ids: tuple[str, ...] = ()


def traces_from_json(body: bytes) -> JsonTraces:
    """Read an OTLP/JSON ``ExportTraceServiceRequest``.

    Raises:
        InvalidInputError: it is not JSON, or something above the spans has the wrong type.
    """
    return read_traces(json_text.loads(body))


def read_traces(document: object) -> JsonTraces:
    """Do as ``traces_from_json`` with JSON that has been read.

    Raises:
        InvalidInputError: something above the spans has the wrong type; the message says where.
    """
    request = Request()
    request.read(document, TRACES)
    return JsonTraces(request.body(), request.accepted, tuple(request.refused))


def encode_span(span: object) -> bytes:
    """Return the protobuf ``Span`` of one in OTLP/JSON.

    Raises:
        WrongFieldError: it has no ids, or a field's value is wrong.
    """
    if type(span) is not dict:
        raise not_a("an object", span)
    if span.get("traceId") is None and span.get("trace_id") is None:
        raise WrongFieldError("missing; 32 hex digits are wanted", "traceId")
    if span.get("spanId") is None and span.get("span_id") is None:
        raise WrongFieldError("missing; 16 hex digits are wanted", "spanId")
    return SPAN.encode(span)


TRACES: Final = Shape(
    resources=("resourceSpans", "resource_spans", "batches"),
    scopes=("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"),
    items=("spans",),
    encode=encode_span,
)
