"""What a payload holds of a conversation: bodies of providers, states of frameworks, lists of messages.

Each shape is known by a member (``choices``, ``candidates``, ``messages`` …), whose reader stands in
one table. Shapes lie inside one another; ``_MOST_LEVELS`` is how deep is looked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from agenttrace_core.messages.media import Media, Part
from agenttrace_core.messages.message import Message, is_item, is_message, of_pair, read_message, read_repr
from agenttrace_core.messages.parts import is_part, read_parts, text_part
from agenttrace_core.messages.values import first, unfolded

_MOST_LEVELS: Final = 8
_NOTHING: Final[tuple[Any, ...]] = ("", [], {})
_SYSTEM: Final = ("system", "instructions", "system_instruction", "systemInstruction", "system_prompt")
_FINISHES: Final = ("finish_reason", "finishReason", "stop_reason", "done_reason")
_TEXT_ROOM: Final = ("metadata", "tags", "kwargs", "config", "callbacks", "return_type", "usage", "id", "name", "type",
                     "role", "model", "index", "stream", "stop")  # fmt: skip


@dataclass(slots=True)
class Conversation:
    """Messages, and what a request says beside them. ``whole`` is false where something was left out."""

    messages: list[Message] = field(default_factory=list)
    system: list[Part] = field(default_factory=list)
    tools: Any = None
    whole: bool = True


class Reader:
    """Reads one side of one span.

    Args:
        role: whose a message is that does not say so: ``user`` for input, ``assistant`` for output.
        media: takes the media out.
    """

    def __init__(self, role: str, media: Media) -> None:
        self._role = role
        self._media = media

    def read(self, value: Any) -> Conversation | None:
        """Return the conversation in ``value``, which may be text that holds it; None if there is none.

        A text that is not of anything is a message by itself.
        """
        found = Conversation()
        return found if self._any(unfolded(value), found, _MOST_LEVELS) and found.messages else None

    # Each reader adds to ``found`` and says whether it knew what it saw.

    def _any(self, value: Any, found: Conversation, levels: int) -> bool:
        if levels == 0:
            return False
        if isinstance(value, str):
            return self._text(value, found, levels)
        if isinstance(value, list):
            return self._list(value, found, levels)
        return isinstance(value, dict) and self._object(value, found, levels)

    def _text(self, text: str, found: Conversation, levels: int) -> bool:
        inner = unfolded(text)
        if not isinstance(inner, str):
            return self._any(inner, found, levels - 1)
        if not inner.strip():
            return False
        message = read_repr(inner, self._role)
        found.messages.append(message or {"role": self._role, "parts": read_parts(inner, self._media)})
        return True

    def _list(self, items: list[Any], found: Conversation, levels: int) -> bool:
        if not items:
            return False
        items = [of_pair(item) for item in items]
        if all(isinstance(item, str) for item in items):
            for item in items:
                self._text(item, found, levels)
            return bool(found.messages)
        if all(is_message(item) or isinstance(item, str) for item in items):
            self._messages(items, found)
            return True
        if all(is_part(item) and "role" not in item for item in items):
            parts = read_parts(items, self._media)
            found.messages.append({"role": self._role, "parts": parts})
            return any(part.get("content") or part["type"] != "text" for part in parts)
        known = [self._any(item, found, levels - 1) for item in items]
        found.whole &= all(known)
        return any(known)

    def _messages(self, items: list[Any], found: Conversation) -> None:
        joins = False
        for item in items:
            if isinstance(item, str):
                self._text(item, found, 1)
                joins = False
                continue
            message = read_message(item, self._role, self._media)
            loose = is_item(item)
            last = found.messages[-1] if found.messages else None
            if last and last["role"] == message["role"] and (loose or joins) and message["role"] == "assistant":
                last["parts"] += message["parts"]
                last.update({key: value for key, value in message.items() if key not in {"role", "parts"}})
            else:
                found.messages.append(message)
            joins = loose

    def _object(self, value: Mapping[str, Any], found: Conversation, levels: int) -> bool:
        if is_message(value):
            found.messages.append(read_message(value, self._role, self._media))
            return True
        for name, reader in self._shapes:
            inner = value.get(name)
            if inner is None or inner in _NOTHING:
                continue
            before = len(found.messages)
            if reader(self, value, inner, found, levels) and len(found.messages) > before:
                self._beside(value, found)
                return True
            del found.messages[before:]
        return False

    def _beside(self, value: Mapping[str, Any], found: Conversation) -> None:
        """Take what a request says beside its messages."""
        config = first(value, ("config", "generationConfig", "generation_config"))
        for given in (value, config if isinstance(config, dict) else {}):
            system = first(given, _SYSTEM)
            if system is not None and not found.system:
                content = system.get("parts", system) if isinstance(system, dict) else system
                found.system = read_parts(content, self._media)
            tools = first(given, ("tools", "functions"))
            if found.tools is None and isinstance(tools, list):
                found.tools = tools

    def _inside(self, value: Mapping[str, Any], inner: Any, found: Conversation, levels: int) -> bool:
        """A member that holds what is looked for."""
        if isinstance(inner, str):
            found.whole &= _stands_alone(value)
            return self._member(inner, found, levels)
        found.whole = False
        return self._any(inner, found, levels - 1)

    def _member(self, text: str, found: Conversation, levels: int) -> bool:
        """A text that is somebody's words, even where those are JSON."""
        if not self._text(text, found, levels):
            found.messages.append({"role": self._role, "parts": [text_part(text)]})
        return True

    def _request(self, value: Mapping[str, Any], inner: Any, found: Conversation, levels: int) -> bool:
        if isinstance(inner, str):
            found.whole &= "model" in value or _stands_alone(value)
            return self._member(inner, found, levels)
        return self._any(inner, found, levels - 1)

    def _choices(self, _: Mapping[str, Any], inner: Any, found: Conversation, __: int) -> bool:
        for choice in inner if isinstance(inner, list) else ():
            if not isinstance(choice, dict):
                continue
            body = first(choice, ("message", "delta", "content"))
            if isinstance(body, str):
                body = {"content": body}
            members = body if isinstance(body, dict) else {"content": choice.get("text")}
            finish = first(choice, ("finish_reason", "finishReason"))
            found.messages.append(read_message({**members, "finish_reason": finish}, "assistant", self._media))
        return bool(found.messages)

    def _generations(self, _: Mapping[str, Any], inner: Any, found: Conversation, __: int) -> bool:
        for row in inner if isinstance(inner, list) else ():
            for item in row if isinstance(row, list) else [row]:
                if not isinstance(item, dict):
                    continue
                message, info = item.get("message"), item.get("generation_info")
                made = (
                    read_message(message, "assistant", self._media)
                    if isinstance(message, dict)
                    else {"role": "assistant", "parts": [text_part(str(item.get("text", "")))]}
                )
                if isinstance(info, dict) and isinstance(info.get("finish_reason"), str):
                    made.setdefault("finish_reason", info["finish_reason"])
                found.messages.append(made)
        return bool(found.messages)

    def _reply(self, value: Mapping[str, Any], inner: Any, found: Conversation, levels: int) -> bool:
        """A body that is a message without a role: Anthropic's, Gemini's, Ollama's, or an agent's."""
        if isinstance(inner, str) and not _stands_alone(value):
            # Agents' results have their text among much else.
            found.whole = False
            return self._member(inner, found, levels)
        if isinstance(inner, dict) and not is_message(inner):
            return self._any(inner, found, levels - 1)
        body = inner if isinstance(inner, dict) else {"content": inner}
        members = {**{key: value[key] for key in _FINISHES if key in value}, **body}
        found.messages.append(read_message(members, self._role, self._media))
        return bool(found.messages[-1]["parts"])

    _shapes: ClassVar[tuple[tuple[str, Callable[..., bool]], ...]] = (
        ("choices", _choices), ("candidates", _choices), ("generations", _generations),
        ("messages", _request), ("contents", _request), ("all_messages", _request),
        ("input_messages", _request), ("output_messages", _request), ("chat_history", _request),
        ("new_message", _request),
        ("message", _reply), ("content", _reply), ("parts", _request),
        ("output", _inside), ("outputs", _inside), ("input", _request), ("inputs", _inside),
        ("prompt", _request), ("prompts", _request), ("response", _inside), ("result", _inside),
        ("raw", _reply), ("data", _inside), ("update", _inside), ("kwargs", _inside), ("args", _inside),
        ("llm_request", _inside), ("request_data", _inside), ("response_data", _inside),
        ("output_text", _inside), ("completion", _inside), ("generated_text", _inside),
        ("text", _inside), ("query", _inside), ("question", _inside), ("answer", _inside),
        ("value", _inside), ("final_output", _inside),
        ("replies", _request), ("items", _request),
        ("user_msg", _inside),
        ("task", _inside), ("combined_chunk_content", _inside),
    )  # fmt: skip


def _stands_alone(value: Mapping[str, Any]) -> bool:
    """Say whether the one text of an object is all that it tells."""
    told = (key for key, item in value.items() if item is not None and item not in _NOTHING)
    return sum(key not in _TEXT_ROOM for key in told) == 1
