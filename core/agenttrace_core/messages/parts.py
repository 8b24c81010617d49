"""One part of a message, in the words of any provider or library, as OpenTelemetry's part.

Providers name the type of a part (``{"type": "tool_use"}``) or let a member tell it
(``{"functionCall": {…}}``); both lead to the same few readers. What none of them knows stays a part
of its own type, with all that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agenttrace_core.messages.media import Media, Part, is_data_url, modality_of
from agenttrace_core.messages.values import first, first_text, shown, unfolded

Members = Mapping[str, Any]
Reader = Callable[[Members, Media], Part | None]

CALL_IDS: Final = ("id", "call_id", "toolCallId", "tool_call_id", "toolUseId", "tool_use_id")
_CALL_NAMES: Final = ("name", "toolName", "tool_name", "function_name", "tool.name")
_ARGUMENTS: Final = ("arguments", "args", "input", "parameters", "tool_args", "action", "tool.args")
_RESULTS: Final = ("response", "result", "output", "content", "value", "outcome", "tools", "results")
_TEXTS: Final = ("text", "content", "refusal", "value", "output_text", "input_text", "transcript")
_THOUGHTS: Final = ("thinking", "reasoning", "content", "text", "summary", "reasoningText", "reasoning_text")
_MEDIA: Final = (
    "image_url", "image", "input_audio", "audio", "video_url", "video", "file", "document", "source", "inlineData",
    "inline_data", "fileData", "file_data", "input_file", "url", "uri", "data", "content", "base64", "bytes",
    "file_id", "fileUri", "file_uri", "s3Location", "file_url",
)  # fmt: skip
_URLS: Final = ("url", "uri", "fileUri", "file_uri", "image_url", "file_url", "audio_url", "video_url", "image")
_INLINE: Final = ("data", "content", "base64", "bytes", "file_data", "image")
_MIMES: Final = ("mime_type", "media_type", "mimeType", "mediaType")
_FORMATS: Final = {"jpg": "jpeg", "mp3": "mpeg", "m4a": "mp4"}
_MOST_LEVELS: Final = 5


def text_part(content: str) -> Part:
    """Return a part of text."""
    return {"type": "text", "content": content}


def raw_part(value: Any) -> Part:
    """Return what could not be read as messages, as it came."""
    return {"type": "text", "content": shown(value), "parsed": False}


def read_parts(content: Any, media: Media) -> list[Part]:
    """Return the parts of a message's content: a text, a part, or a list of either."""
    if content is None or content == "":
        return []
    items = content if isinstance(content, list) else [content]
    return [part for item in items if (part := read_part(item, media)) is not None]


def read_part(item: Any, media: Media) -> Part | None:
    """Return one part; None where there is nothing in it."""
    if isinstance(item, str):
        return media.part(item) if is_data_url(item) else text_part(item)
    if not isinstance(item, dict):
        return None if item is None else raw_part(item)
    members = {key: value for key, value in item.items() if value is not None}
    inner = members.get("message_content")
    if isinstance(inner, dict):
        members = {**inner, **{k: v for k, v in members.items() if k != "message_content"}}
    kind = _kind(members)
    reader = _READERS.get(kind) if kind else _reader_by_member(members)
    part = reader(members, media) if reader else None
    if part is not None:
        return part
    return _other(members, kind, media)


def is_part(item: Any) -> bool:
    """Say whether ``item`` is a part whose type is known here."""
    return isinstance(item, dict) and _kind(item) in _READERS


def tool_call(members: Members, media: Media) -> Part | None:
    """Read the call of a tool, whatever its members are called; None if it has no name."""
    inner = first(members, ("function", "tool_call", "functionCall", "function_call", "toolUse"))
    if isinstance(inner, dict):
        nested = inner.get("function")
        members = {**members, **inner, **(nested if isinstance(nested, dict) else {})}
    elif isinstance(members.get("function"), str):
        members = {**members, "name": members["function"]}
    name = first_text(members, *_CALL_NAMES) or _builtin(members)
    if name is None:
        return None
    arguments = media.taken_out(unfolded(first(members, _ARGUMENTS)))
    return {"type": "tool_call", "id": _call_id(members), "name": name, "arguments": arguments}


def tool_response(members: Members, media: Media) -> Part | None:
    """Read what a tool answered."""
    inner = first(members, ("functionResponse", "function_response", "toolResult"))
    if isinstance(inner, dict):
        members = {**members, **inner}
    name = first_text(members, *_CALL_NAMES)
    part: Part = {"type": "tool_call_response", "id": _response_id(members)}
    if name:
        part["name"] = name
    part["response"] = response_value(first(members, _RESULTS), media)
    if members.get("is_error") is True or members.get("isError") is True or members.get("status") == "error":
        part["is_error"] = True
    return part


def response_value(value: Any, media: Media) -> Any:
    """Return a tool's answer: text where it is no more than text, else what it is, with its media taken out."""
    value = unfolded(value)
    for _ in range(_MOST_LEVELS):
        if isinstance(value, list) and len(value) == 1 and _is_text(value[0]):
            value = value[0]
        if isinstance(value, dict) and _is_text(value):
            value = value.get("text", value.get("content", value.get("value")))
        else:
            break
    if isinstance(value, list) and any(isinstance(item, dict) and _kind(item) in _MEDIA_KINDS for item in value):
        return [read_part(item, media) for item in value]
    return media.taken_out(value)


def reasoning(members: Members, _: Media) -> Part | None:
    """Read what a model thought; encrypted thoughts have no content, and say that they are ``redacted``."""
    thought = first(members, _THOUGHTS)
    if isinstance(thought, str) and thought.startswith("[{"):
        thought = unfolded(thought)
    if isinstance(thought, dict):
        thought = first(thought, ("text", "content"))
    if isinstance(thought, list):
        texts = (item if isinstance(item, str) else first_text(item, "text", "content") for item in thought if item)
        thought = "\n\n".join(text for text in texts if text)
    part: Part = {"type": "reasoning", "content": thought if isinstance(thought, str) else ""}
    if not part["content"]:
        part["redacted"] = True
    return part


def media_part(members: Members, media: Media) -> Part | None:
    """Read a picture, sound or file: inside of the message, at a URL, or by a provider's file id."""
    kind = (_kind(members) or "").removeprefix("input_").removesuffix("_url")
    given = members
    for _ in range(_MOST_LEVELS):
        inner = first(given, _MEDIA)
        if not isinstance(inner, dict):
            break
        given = {**{key: given[key] for key in _MIMES if key in given}, **inner}
    mime_type = _mime_type(given, kind)
    url, inline, file_id = first_text(given, *_URLS), first_text(given, *_INLINE), first_text(given, "file_id")
    for text in (url, inline):
        if text is not None and (text is inline or is_data_url(text)) and (blob := media.part(text, mime_type)):
            return blob
    known = kind if kind in {"image", "audio", "video"} else modality_of(mime_type or "")
    part: Part = {"modality": first_text(given, "modality") or first_text(members, "modality") or known}
    if mime_type:
        part["mime_type"] = mime_type
    if url:
        return {"type": "uri", **part, "uri": url}
    return {"type": "file", **part, "file_id": file_id} if file_id else None


def _text(members: Members, _: Media) -> Part | None:
    text = first(members, _TEXTS)
    if isinstance(text, dict):  # an assistant's {"text": {"value": …}}
        text = first(text, ("value", "text", "content")) or shown(text)
    if isinstance(text, dict | list):
        return None
    if members.get("thought") is True:
        return {"type": "reasoning", "content": text or ""}
    return text_part("" if text is None else shown(text))


def _refusal(members: Members, _: Media) -> Part | None:
    return {"type": "refusal", "content": first_text(members, "refusal", "content", "text") or ""}


def _code(members: Members, media: Media) -> Part | None:
    code = first(members, ("executableCode", "executable_code"))
    return {"type": "tool_call", "id": None, "name": "code_execution", "arguments": media.taken_out(code)}


def _code_result(members: Members, media: Media) -> Part | None:
    result = first(members, ("codeExecutionResult", "code_execution_result"))
    return {"type": "tool_call_response", "id": None, "name": "code_execution", "response": media.taken_out(result)}


def _other(members: Mapping[str, Any], kind: str | None, media: Media) -> Part | None:
    text = members.get("text", members.get("content"))
    if kind is None and not (isinstance(text, str) and members.keys() <= {"text", "content", "block_type"}):
        return raw_part(media.taken_out(dict(members)))
    return text_part(str(text)) if kind is None else {**media.taken_out(dict(members)), "type": kind}


def _kind(members: Members) -> str | None:
    kind = first_text(members, "type", "part_kind", "block_type", "kind")
    if kind is None or len(kind) > 64:
        return None
    kind = kind.lower().rpartition(".")[2].replace("-", "_")
    if kind.endswith(("_tool_result", "_call_output")):
        return "tool_result"
    return kind


def _reader_by_member(members: Members) -> Reader | None:
    return next((reader for name, reader in _BY_MEMBER if name in members), None)


def _is_text(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("type", "text") != "text":
        return False
    return any(isinstance(item.get(key), str) for key in ("text", "content")) and item.keys() <= _TEXT_MEMBERS


def _call_id(members: Members) -> str | None:
    # A response item of OpenAI has an id of its own beside that of the call.
    return first_text(members, "call_id", *CALL_IDS)


def _response_id(members: Members) -> str | None:
    return first_text(members, "call_id", "tool_call_id", "tool_use_id", "toolCallId", "toolUseId", "id")


def _builtin(members: Members) -> str | None:
    kind = _kind(members) or ""
    return kind.removesuffix("_call") if kind.endswith("_call") and kind not in {"tool_call", "function_call"} else None


def _mime_type(members: Members, kind: str) -> str | None:
    named = first_text(members, *_MIMES)
    if named:
        return named
    form = first_text(members, "format")
    if form is None or kind not in {"image", "audio", "video"} or not form.isalnum():
        return None
    return f"{kind}/{_FORMATS.get(form, form)}"


_TEXT_MEMBERS: Final = frozenset({"type", "text", "content", "annotations", "citations", "meta", "_meta"})

_MEDIA_KINDS: Final = frozenset({
    "image", "input_image", "image_url", "audio", "input_audio", "audio_url", "video", "video_url", "file",
    "input_file", "document", "document_url", "media", "blob", "uri", "binary", "uploaded_file",
    "inline_data", "file_data",
})  # fmt: skip

_READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "user_prompt", "system_prompt"), _text),
    **dict.fromkeys(("thinking", "reasoning", "redacted_thinking", "reasoning_text", "reasoning_content",
                     "textreasoningcontent"), reasoning),
    **dict.fromkeys(
        ("tool_call", "tool_use", "function_call", "function", "server_tool_use", "server_tool_call", "mcp_tool_use",
         "custom_tool_call", "web_search_call", "file_search_call", "computer_call", "code_interpreter_call",
         "mcp_call", "image_generation_call", "local_shell_call", "builtin_tool_call"),
        tool_call,
    ),
    **dict.fromkeys(
        ("tool_call_response", "tool_result", "function_response", "tool_return", "tool_response", "retry_prompt",
         "server_tool_call_response", "builtin_tool_return"),
        tool_response,
    ),
    **dict.fromkeys(_MEDIA_KINDS, media_part),
    "refusal": _refusal,
}  # fmt: skip

_BY_MEMBER: Final[tuple[tuple[str, Reader], ...]] = (
    ("functionCall", tool_call), ("function_call", tool_call), ("tool_call", tool_call), ("toolUse", tool_call),
    ("functionResponse", tool_response), ("function_response", tool_response), ("toolResult", tool_response),
    ("executableCode", _code), ("executable_code", _code),
    ("codeExecutionResult", _code_result), ("code_execution_result", _code_result),
    ("reasoningContent", lambda members, media: reasoning(
        members["reasoningContent"] if isinstance(members["reasoningContent"], dict) else members, media)),
    ("inlineData", media_part), ("inline_data", media_part), ("fileData", media_part), ("file_data", media_part),
    ("image_url", media_part), ("image", media_part), ("toolCallId", tool_call), ("tool.name", tool_call),
    ("thinking", reasoning), ("text", _text),
)  # fmt: skip
