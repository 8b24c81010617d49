"""Everything that was said in one span, out of its attributes and events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agenttrace_core.messages import sides, sources
from agenttrace_core.messages.definitions import read_definitions
from agenttrace_core.messages.events import Told, members_of, read_events, tool_members
from agenttrace_core.messages.joining import join_tools
from agenttrace_core.messages.media import Blob, Media, Part
from agenttrace_core.messages.message import Message
from agenttrace_core.messages.parts import read_parts
from agenttrace_core.messages.sides import Side
from agenttrace_core.messages.values import first, plain_attributes, unfolded

Json = Mapping[str, Any]

_MESSAGES: Final = ("gen_ai.input.messages", "gen_ai.output.messages")


@dataclass(frozen=True, slots=True)
class SpanContent:
    """What a span was given and what it gave; None where it does not say.

    ``input`` and ``output`` are the values themselves, where they are not messages or say more than those.
    ``input_source`` and ``output_source`` are the attributes that were read (``{}``: numbered), or ``events``.
    """

    input_messages: list[Message] | None = None
    output_messages: list[Message] | None = None
    system_instructions: list[Part] | None = None
    tool_definitions: list[dict[str, Any]] | None = None
    input: Any = None
    output: Any = None
    input_source: str | None = None
    output_source: str | None = None


def span_content(span: Json, *, events: Iterable[Json] = ()) -> SpanContent:
    """Read a span as OTLP/JSON.

    Args:
        span: the span.
        events: log records that belong to it, as OTLP/JSON, in order.
    """
    return _read(span, events, _media(span))


def span_blob(span: Json, digest: bytes, *, events: Iterable[Json] = ()) -> Blob | None:
    """Return the bytes that a reference with ``digest`` in the span's messages stands for; None if there are none."""
    media = _media(span, digest)
    _read(span, events, media)
    return media.found


def _media(span: Json, wanted: bytes | None = None) -> Media:
    return Media(span.get("traceId") or "0" * 32, span.get("spanId") or "0" * 16, wanted)


def _read(span: Json, events: Iterable[Json], media: Media) -> SpanContent:
    attributes = plain_attributes(span.get("attributes"))
    happened = _events(span, attributes, events)
    told = read_events(happened, media)
    attributes = {**told.attributes, **attributes}
    if _is_tool(attributes):
        attributes = {**tool_members(happened), **attributes}
        name = str(span.get("name", ""))
        given = sides.tool_call_side(attributes, name, media)
        gave = sides.tool_response_side(attributes, name, media)
    else:
        given, gave = _conversation(attributes, told, media)
    join_tools([*(given.messages if given else ()), *(gave.messages if gave else ())])
    return SpanContent(
        input_messages=given.messages if given else None,
        output_messages=gave.messages if gave else None,
        system_instructions=_system(attributes, given, media),
        tool_definitions=_definitions(attributes, given),
        input=given.raw if given else None,
        output=gave.raw if gave else None,
        input_source=given.source if given else None,
        output_source=gave.source if gave else None,
    )


def _events(span: Json, attributes: Json, records: Iterable[Json]) -> Sequence[Json]:
    found = [members_of(event) for event in (*(span.get("events") or ()), *records)]
    for name in sources.EVENT_LISTS:
        listed = unfolded(attributes.get(name))
        found += [item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, dict)]
    return found


def _is_tool(attributes: Json) -> bool:
    if any(name in attributes for name in _MESSAGES):
        return False
    marked = any(attributes.get(name) == value for name, value in sources.TOOL_MARKS.items())
    return marked or any(name in attributes for name in sources.TOOL_KEYS)


def _conversation(attributes: Json, told: Told, media: Media) -> tuple[Side | None, Side | None]:
    """Read both sides of what is no tool: messages first, then events, then whatever there is."""
    given = sides.read_side(attributes, _MESSAGES[:1], "user", media)
    gave = sides.read_side(attributes, _MESSAGES[1:], "assistant", media)
    run: tuple[Side | None, Side | None] = (None, None)
    if given is None or gave is None:
        run = sides.run_sides(attributes, media)
    if not told.output and any(name in attributes for name in sources.EVENT_LISTS):
        told.input, told.output = sides.parted(told.input)
    given = given or _told(told.input) or run[0] or sides.embedded_texts(attributes)
    gave = gave or _told(told.output) or run[1] or sides.vercel_output(attributes, media)
    given = given or sides.documents(attributes, sources.DOCUMENTS_GIVEN, "user", media)
    gave = gave or sides.embeddings(attributes) or sides.documents(attributes, sources.DOCUMENTS, "tool", media)
    return (
        given or sides.read_side(attributes, sources.INPUT, "user", media),
        gave or sides.read_side(attributes, sources.OUTPUT, "assistant", media),
    )


def _told(messages: list[Message]) -> Side | None:
    return Side(messages, "events") if messages else None


def _system(attributes: Json, given: Side | None, media: Media) -> list[Part] | None:
    value = unfolded(first(attributes, sources.SYSTEM))
    return read_parts(value, media) or (given.system if given else None)


def _definitions(attributes: Json, given: Side | None) -> list[dict[str, Any]] | None:
    for name in sources.TOOLS:
        found = read_definitions(sides.value_of(attributes, name))
        if found:
            return found
    return (read_definitions(given.tools) or None) if given else None
