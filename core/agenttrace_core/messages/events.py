"""Messages that came as events: of the span, in an attribute that lists events, or as log records.

Three generations of the conventions are read: ``gen_ai.{system,user,assistant,tool}.message`` and
``gen_ai.choice``; ``gen_ai.content.{prompt,completion}``; ``gen_ai.client.inference.operation.details``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agenttrace_core.messages.media import Media
from agenttrace_core.messages.message import Message, read_message
from agenttrace_core.messages.values import first, first_text, plain, plain_attributes, unfolded

DETAILS: Final = "gen_ai.client.inference.operation.details"
_ROLES: Final = {
    "gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool", "gen_ai.choice": "assistant",
}  # fmt: skip
_CONTENTS: Final = {"gen_ai.content.prompt": "gen_ai.prompt", "gen_ai.content.completion": "gen_ai.completion"}
_BODIES: Final = ("gen_ai.event.content", "event.body", "body", "event_content")


@dataclass(slots=True)
class Told:
    """What events told: messages, and attributes that count as if they were the span's."""

    input: list[Message] = field(default_factory=list)
    output: list[Message] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


def members_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an OTLP/JSON span event or log record says, by name, its own name under ``event.name``."""
    members = plain_attributes(event.get("attributes"))
    body = unfolded(plain(event.get("body")))
    if isinstance(body, dict):
        members = {**body, **members}
    elif body is not None:
        members.setdefault("content", body)
    name = event.get("name") or event.get("eventName")
    if name:
        members["event.name"] = name
    return members


def read_events(events: Iterable[Mapping[str, Any]], media: Media) -> Told:
    """Read the members of events, in their order; those that are no messages are passed over."""
    told = Told()
    for members in events:
        name = members.get("event.name")
        if not isinstance(name, str):
            continue
        if name == DETAILS:
            told.attributes |= {key: value for key, value in members.items() if key.startswith("gen_ai.")}
        elif name in _CONTENTS:
            key = _CONTENTS[name]
            if members.get(key) is not None:
                told.attributes.setdefault(key, members[key])
        elif name in _ROLES:
            message = _message(members, _ROLES[name], media)
            if message["parts"]:
                (told.output if name == "gen_ai.choice" else told.input).append(message)
    return told


def tool_members(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what events of a tool's span tell of its call and answer, by the names of attributes."""
    found: dict[str, Any] = {}
    for members in events:
        told = _OF_TOOLS.get(str(members.get("event.name")))
        if told is not None and (value := first(members, ("content", "message"))) is not None:
            found[told] = value
            if call_id := first_text(members, "id"):
                found["gen_ai.tool.call.id"] = call_id
    return found


_OF_TOOLS: Final = {"gen_ai.tool.message": "gen_ai.tool.call.arguments", "gen_ai.choice": "gen_ai.tool.call.result"}


def _message(members: Mapping[str, Any], role: str, media: Media) -> Message:
    body = unfolded(first(members, _BODIES))
    if isinstance(body, dict):
        members = {**members, **body}
    elif body is not None and "content" not in members:
        members = {**members, "content": body}
    inner = unfolded(members.get("message"))
    if isinstance(inner, dict):
        members = {**members, **inner}
    elif isinstance(inner, str | list) and "content" not in members:
        members = {**members, "content": inner}
    if role == "tool" and "tool_call_id" not in members:
        members = {**members, "tool_call_id": first_text(members, "id", "gen_ai.tool.call.id")}
    # A log record's own type, such as Logfire's, is none of its message's.
    return read_message({key: value for key, value in members.items() if key != "type"}, role, media)
