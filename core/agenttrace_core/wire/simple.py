"""Traces in plain JSON, for people with ``curl`` and no OpenTelemetry.

The body is one span, an array of spans, or an object with ``spans``; all but ``name`` is optional::

    {"service": "shop", "session_id": "s-1", "spans": [
        {"name": "answer", "start": "2026-11-24T02:00:00Z", "duration_ms": 1200,
         "input": "Where is my parcel?", "output": "In Leeds.",
         "attributes": {"tier": "gold", "retries": 2},
         "children": [
            {"name": "chat", "operation": "chat", "model": "gpt-4o", "input_tokens": 210, "output_tokens": 18,
             "input": [{"role": "user", "content": "Where is my parcel?"}], "output": "In Leeds."},
            {"name": "track", "operation": "execute_tool", "tool": "track", "input": {"id": 7}, "error": "timeout"}]}]}

Names are those of the rows that come back:

- ``trace_id``, ``span_id``: hex; made if absent. Without any trace id, a request is one trace.
- ``parent_span_id``, or spans under ``children``, at any depth.
- ``start``, ``end``: RFC 3339 with an offset, or integer nanoseconds since the epoch. ``duration_ms`` stands in for
  ``end`` (or for ``start``, where only ``end`` is given). A span without any time ends, or if it has no
  duration happens, when it is received. A span with a start alone is not over yet.
- ``kind`` (OTel's: internal, server, client, producer, consumer; internal if absent), ``status`` (ok, error, unset),
  ``error``: its text, or ``{"type", "message"}``; sets the status.
- ``service``, ``session_id``, ``user_id``, ``trace_id``, beside ``spans``, hold for all of them; a child has its
  parent's.
- ``attributes``: any JSON. ``events``: ``[{"name", "time", "attributes"}]``.
- ``operation``, ``provider``, ``model``, ``agent``, ``tool``, ``input_tokens``, ``output_tokens``: see ``simple_span``.
- ``input``, ``output``: messages (objects with a ``role``), and text of an inference, become
  ``gen_ai.input.messages`` and ``gen_ai.output.messages``; those of a tool ``gen_ai.tool.call.arguments`` and
  ``.result``; anything else ``input.value`` and ``output.value`` with their ``mime_type``.

A name that is none of these refuses its span, with the nearest that is one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.wire import json_text
from agenttrace_core.wire.envelope import Refusal
from agenttrace_core.wire.json_read import TRACES, JsonTraces, encode_span, read_traces
from agenttrace_core.wire.otlp_messages import RESOURCE, SCOPE
from agenttrace_core.wire.proto_bytes import delimited
from agenttrace_core.wire.simple_span import SHARED, Context, attribute, check_names, id_of, otlp_span, times_of
from agenttrace_core.wire.wrong_field import WrongFieldError

SCOPE_NAME: Final = "agenttrace.simple_json"


class Form(StrEnum):
    """What a JSON body on the API's door may be."""

    OTLP = "otlp"
    SIMPLE = "simple"


def sniff(document: object) -> Form:
    """Tell OTLP/JSON from the simple form, by the names of its outermost object; ``{}`` is an empty OTLP request."""
    if isinstance(document, dict) and (not document or not document.keys().isdisjoint(TRACES.resources)):
        return Form.OTLP
    return Form.SIMPLE


def traces_from_any_json(body: bytes, *, now_ns: int | None = None) -> JsonTraces:
    """Read a body in either form.

    Raises:
        InvalidInputError: it is not JSON, or is neither.
    """
    document = json_text.loads(body)
    if sniff(document) is Form.OTLP:
        return read_traces(document)
    return read_simple(document, now_ns=now_ns)


def traces_from_simple_json(body: bytes, *, now_ns: int | None = None) -> JsonTraces:
    """Read the simple form; ``now_ns``, nanoseconds since the epoch, is for spans without a time.

    Raises:
        InvalidInputError: it is not JSON, or has no spans; the message shows the least that would do.
    """
    return read_simple(json_text.loads(body), now_ns=now_ns)


def read_simple(document: object, *, now_ns: int | None = None) -> JsonTraces:
    """Do as ``traces_from_simple_json`` with JSON that has been read.

    Raises:
        InvalidInputError: it has no spans, or what is beside them is wrong.
    """
    now = time.time_ns() if now_ns is None else now_ns
    encoded: dict[str | None, list[bytes]] = {}
    refused: list[Refusal] = []
    trace_ids: dict[str, None] = {}
    for place in _places(*_roots(document)):
        try:
            span, context = otlp_span(place.span, place.span_id, place.context, now)
            data = encode_span(span)
        except WrongFieldError as error:
            refused.append(Refusal(_at(place.path, error), json_text.dumps_exactly(_alone(place.span))))
            continue
        encoded.setdefault(context.service, []).append(data)
        trace_ids[span["traceId"]] = None
    body = b"".join(_resource_spans(service, spans) for service, spans in encoded.items())
    return JsonTraces(body, sum(map(len, encoded.values())), tuple(refused), tuple(trace_ids))


@dataclass(frozen=True, slots=True)
class _Place:
    """A span as it was sent, where it was, and the id that it has or was given."""

    path: str
    span: Any
    context: Context
    span_id: str


def _roots(document: object) -> tuple[list[Any], str, Context]:
    context = Context(trace_id=secrets.token_hex(16))
    if isinstance(document, dict) and "spans" in document:
        try:
            check_names(document, frozenset({"spans", *SHARED}))
            context = context.within(document)
        except WrongFieldError as error:
            raise InvalidInputError(str(error)) from error
        roots, path = document["spans"], "spans"
    elif isinstance(document, dict) and "name" in document:
        return [document], "", context
    else:
        roots, path = document, "spans"
    if not isinstance(roots, list):
        raise InvalidInputError(
            'the body is neither OTLP/JSON, an object with "resourceSpans", nor plain spans; '
            'the least of those is {"name": "answer", "input": "…", "output": "…"}'
        )
    return roots, path, context


def _places(roots: list[Any], path: str, context: Context) -> Iterator[_Place]:
    """Iterate over the spans and, at any depth, their children; parents first."""
    waiting = [(f"{path}[{i}]" if path else "", span, context) for i, span in enumerate(roots)][::-1]
    while waiting:
        at, span, outer = waiting.pop()
        place = _Place(at, span, outer, _span_id(span))
        yield place
        children = span.get("children") if isinstance(span, dict) else None
        if isinstance(children, list):
            inner = _for_children(place)
            prefix = f"{at}." if at else ""
            waiting.extend((f"{prefix}children[{i}]", child, inner) for i, child in reversed(list(enumerate(children))))


def _alone(span: Any) -> Any:
    """Return a refused span without its children, each of which is accepted or refused by itself."""
    if isinstance(span, dict) and isinstance(span.get("children"), list):
        return {name: value for name, value in span.items() if name != "children"}
    return span


def _span_id(span: object) -> str:
    given = span.get("span_id") if isinstance(span, dict) else None
    return given if isinstance(given, str) else secrets.token_hex(8)


def _for_children(place: _Place) -> Context:
    """What a span hands down; of what is wrong, and so refused, what its own parent did."""
    context = place.context
    try:
        context = replace(context, parent_span_id=id_of(place.span_id, 8, "span_id"))
        context = context.within(place.span)
        start_ns, _ = times_of(place.span, context.start_ns)
    except WrongFieldError:
        return context
    return replace(context, start_ns=start_ns)


def _resource_spans(service: str | None, spans: list[bytes]) -> bytes:
    resource = b""
    if service is not None:
        resource = delimited(b"\x0a", RESOURCE.encode({"attributes": [attribute("service.name", service)]}))
    scope = delimited(b"\x0a", SCOPE.encode({"name": SCOPE_NAME}))
    encoded = b"".join(delimited(b"\x12", span) for span in spans)
    return delimited(b"\x0a", resource + delimited(b"\x12", scope + encoded))


def _at(path: str, error: WrongFieldError) -> str:
    if not path:
        return str(error)
    return f"{path}.{error}" if error.path else f"{path}: {error}"
