"""One message, in the words of any provider or library, as ``{"role", "parts"}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agenttrace_core.messages.media import Media, Part
from agenttrace_core.messages.parts import CALL_IDS, read_part, read_parts, response_value, tool_call
from agenttrace_core.messages.values import first, first_text, parsed, unfolded

Message = dict[str, Any]

_ROLES: Final = {
    "human": "user", "humanmessage": "user", "user": "user", "usermessage": "user",
    "ai": "assistant", "aimessage": "assistant", "aimessagechunk": "assistant", "model": "assistant",
    "assistant": "assistant", "assistantmessage": "assistant", "chatbot": "assistant", "thinking": "assistant",
    "system": "system", "systemmessage": "system", "developer": "system",
    "tool": "tool", "toolmessage": "tool", "toolmessagechunk": "tool", "function": "tool", "functionmessage": "tool",
}  # fmt: skip
_CONTENTS: Final = ("parts", "contents", "content", "blocks")
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking", "thought")
_FINISHES: Final = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")
_BODY: Final = frozenset({*_CONTENTS, "tool_calls", "toolCalls", "function_call", "message.content", "message.contents",
                          "message.tool_calls", "function_call_name", "refusal"})  # fmt: skip
_ITEMS: Final = {
    "function_call": "assistant", "custom_tool_call": "assistant", "mcp_call": "assistant", "reasoning": "assistant",
    "web_search_call": "assistant", "file_search_call": "assistant", "computer_call": "assistant",
    "code_interpreter_call": "assistant", "image_generation_call": "assistant", "local_shell_call": "assistant",
    "tool_use": "assistant", "tool_call": "assistant", "thinking": "assistant",
    "function_call_output": "tool", "custom_tool_call_output": "tool", "computer_call_output": "tool",
    "local_shell_call_output": "tool", "tool_result": "tool", "tool_call_response": "tool",
}  # fmt: skip
_DOTTED: Final = ("message.", "tool_call.", "message_content.")
_QUOTED: Final = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_REPR: Final = re.compile(rf"(?:\w{{1,40}}\()?(?:_?role=|content={_QUOTED}(?:\s\w|$))", re.DOTALL)
_REPR_ROLE: Final = re.compile(r"_?role=<?(?:\w+\.)?'?(\w+)")
_REPR_TEXT: Final = re.compile(rf"(?:^|[\s(,])(?:content|text)=({_QUOTED})", re.DOTALL)


def is_message(value: Any) -> bool:
    """Say whether ``value`` is one message, or one item of a response that stands for one."""
    if not isinstance(value, dict):
        return False
    if _langchain(value) is not None or "message.role" in value:
        return True
    if isinstance(value.get("role"), str | dict):
        return not _BODY.isdisjoint(value)
    kind = value.get("type")
    if isinstance(kind, str):
        if kind in _ITEMS:
            return True
        if kind.lower() in _ROLES:
            return "content" in value
    return _is_bare_call(value) or _is_autogen(value)


def read_message(value: Mapping[str, Any], role: str, media: Media) -> Message:
    """Return ``value`` as a message; ``role`` is whose it is if it does not say so."""
    kwargs = _langchain(value)
    if set(value) == {"user"}:  # OpenLLMetry's prompts of old
        value = {"role": "user", "content": value["user"]}
    members = _undotted(value if kwargs is None else {"type": _class_of(value), **kwargs})
    inner = members.get("message")
    if isinstance(inner, dict) and not members.get("content"):  # a choice, or an event of one
        members = {**members, **inner}
    said = _role(members)
    kind = members.get("type")
    if said is None and ((isinstance(kind, str) and kind in _ITEMS) or _is_bare_call(members)):
        part = read_part(members, media)
        return {"role": _ITEMS.get(str(kind), "assistant"), "parts": [part] if part else []}
    message: Message = {"role": said or role, "parts": _parts(members, said or role, media)}
    if said is None and any(part["type"] == "tool_call" for part in message["parts"]):
        message["role"] = "assistant"
    for name, keys in (("name", ("name",)), ("finish_reason", _FINISHES)):
        text = first_text(members, *keys)
        if text and not (name == "name" and message["role"] == "tool"):
            message[name] = text.lower() if name == "finish_reason" else text
    return message


def read_repr(text: str, role: str) -> Message | None:
    """Return the message that a Python library printed (``content='…' role=…``); None if it is not such a text."""
    if _REPR.match(text) is None:
        return None
    said = _REPR_ROLE.search(text[:400])
    contents = [parsed(f"[{match[1]}]") for match in _REPR_TEXT.finditer(text)]
    texts = [inner[0] for inner in contents if isinstance(inner, list) and inner]
    if not texts:
        return None
    known = _ROLES.get(said[1].lower()) if said else None
    return {"role": known or role, "parts": [{"type": "text", "content": str(content)} for content in texts]}


def of_pair(item: Any) -> Any:
    """Return ``["user", "Hi"]``, as LangChain lets its users write a message, as one; anything else as it is."""
    is_pair = isinstance(item, list) and len(item) == 2 and all(isinstance(member, str) for member in item)
    return {"role": item[0], "content": item[1]} if is_pair and item[0].lower() in _ROLES else item


def is_item(value: Any) -> bool:
    """Say whether ``value`` is an item of a response without a role, which belongs to the message beside it."""
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind in _ITEMS and not isinstance(value.get("role"), str)


def _parts(members: Mapping[str, Any], role: str, media: Media) -> list[Part]:
    call_id = first_text(members, "tool_call_id", "toolCallId", "call_id")
    content = first(members, _CONTENTS)
    if isinstance(content, str):
        inner = unfolded(content) if content[:2] in {"[{", '"['} else None
        content = inner if isinstance(inner, list) and inner and all(map(_is_block, inner)) else content
    if role == "tool" and (call_id or not _is_list_of_responses(content)):
        return [_tool_message(members, call_id, content, media)]
    parts: list[Part] = []
    thought = first(members, _THOUGHTS)
    if isinstance(thought, str):
        parts.append({"type": "reasoning", "content": thought})
    if members.get("role") == "thinking" and isinstance(content, str):
        return [{"type": "reasoning", "content": content}]
    parts += read_parts(content, media)
    parts += read_parts([members["refusal"]], media) if isinstance(members.get("refusal"), str) else []
    images = members.get("images")
    inline = (media.part(image) for image in (images if isinstance(images, list) else ()) if isinstance(image, str))
    parts += [part for part in inline if part]
    audio = members.get("audio")
    if isinstance(audio, dict):
        transcript = audio.get("transcript")
        parts += read_parts(transcript if isinstance(transcript, str) else None, media)
        parts += read_parts({"type": "audio", **audio}, media)
    given = {part.get("id") for part in parts if part["type"] == "tool_call"}
    return parts + [call for call in _calls(members, media) if call["id"] is None or call["id"] not in given]


def _calls(members: Mapping[str, Any], media: Media) -> list[Part]:
    more = members.get("additional_kwargs")
    calls = first(members, ("tool_calls", "toolCalls"))
    if not calls and isinstance(more, dict):
        calls = more.get("tool_calls") or ([more["function_call"]] if more.get("function_call") else None)
    calls = unfolded(calls)
    found = [call for item in (calls if isinstance(calls, list) else ())
             if isinstance(item, dict) and (call := tool_call(_undotted(item), media))]  # fmt: skip
    old = members.get("function_call")
    if isinstance(old, dict) and (call := tool_call(old, media)):
        found.append(call)
    if name := first_text(members, "function_call_name"):
        arguments = unfolded(members.get("function_call_arguments_json"))
        found.append({"type": "tool_call", "id": None, "name": name, "arguments": arguments})
    return found


def _tool_message(members: Mapping[str, Any], call_id: str | None, content: Any, media: Media) -> Part:
    part: Part = {"type": "tool_call_response", "id": call_id or first_text(members, *CALL_IDS)}
    if name := first_text(members, "name", "tool_name"):
        part["name"] = name
    part["response"] = response_value(content, media)
    return part


def _role(members: Mapping[str, Any]) -> str | None:
    said = members.get("role", members.get("_role"))
    if _is_autogen(members):
        said = "user" if members["source"] == "user" else "assistant"
    if isinstance(said, dict):  # an enum's {"value": …}, or LiteLLM's
        said = first_text(said, "value", "label", "name")
    if not isinstance(said, str) or not said:
        said = members.get("type")
        if not isinstance(said, str) or said.lower() not in _ROLES:
            return None
    said = said.rpartition(".")[2].lower()
    if said not in _ROLES and "tool_call_id" in members:
        return "tool"
    return None if said == "unknown" else _ROLES.get(said, said[:64])


def _is_bare_call(value: Mapping[str, Any]) -> bool:
    """The call of a tool that stands for a message: Vercel's, or any-agent's."""
    return ("toolCallId" in value and "toolName" in value) or ("tool.name" in value and "tool.args" in value)


def _is_autogen(value: Mapping[str, Any]) -> bool:
    kind = value.get("type")
    return (
        isinstance(kind, str)
        and kind.endswith("Message")
        and isinstance(value.get("source"), str)
        and "content" in value
    )


def _langchain(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """The members of ``{"lc": 1, "type": "constructor", "id": […, "HumanMessage"], "kwargs": {…}}``."""
    kwargs, path = value.get("kwargs"), value.get("id")
    is_one = "lc" in value and isinstance(kwargs, dict) and isinstance(path, list) and "content" in kwargs
    return kwargs if is_one else None


def _class_of(value: Mapping[str, Any]) -> str:
    return str(value["id"][-1]) if value["id"] else ""


def _undotted(value: Mapping[str, Any]) -> dict[str, Any]:
    """Take OpenInference's prefixes off: ``message.role``, ``tool_call.function.name``, and an object around it."""
    for outer in ("message", "tool_call"):
        inner = value.get(outer)
        if isinstance(inner, dict) and len(value) == 1:
            value = inner
    members: dict[str, Any] = {}
    for key, item in value.items():
        head = next((head for head in _DOTTED if key.startswith(head)), "")
        name, _, rest = key[len(head) :].partition(".")
        if head and rest and isinstance(nested := members.setdefault(name, {}), dict):
            nested[rest] = item
        else:
            members[name if head else key] = item
    return members


def _has_type(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("type"), str)


def _is_block(item: Any) -> bool:
    """Say whether ``item`` is a part that names its type, or one of Bedrock's, whose one member tells it."""
    return _has_type(item) or (isinstance(item, dict) and len(item) == 1 and item.keys() <= _BLOCKS)


_BLOCKS: Final = frozenset({"text", "toolUse", "toolResult", "image", "document", "reasoningContent", "cachePoint"})


def _is_list_of_responses(content: Any) -> bool:
    items = content if isinstance(content, list) else [content]
    return any(
        isinstance(item, dict)
        and ((_has_type(item) and item["type"] in {"tool_call_response", "tool_result", "tool-result", "tool_return"})
             or not {"functionResponse", "function_response", "toolResult"}.isdisjoint(item))
        for item in items
    )  # fmt: skip
