"""What a person wants to see of a span's input and output: 200 characters of what was said last.

A quick sibling of the room ``messages``, for every span on its way: most texts are read where they
lie, without parsing. What a shape does not give away is shown as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.normalise import nested
from agenttrace_core.normalise.quick_texts import CHARACTERS, STYLES, quick_texts
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.wire.quality import Flags, as_text

_BYTES: Final = 4 * CHARACTERS  # no character takes more in UTF-8
_SLACK: Final = 64
_MOST_LEVELS: Final = 8

_USERS: Final = frozenset({"user", "human", "humanmessage", "usermessage"})
_ASSISTANTS: Final = frozenset(
    {"assistant", "ai", "model", "aimessage", "aimessagechunk", "assistantmessage", "chatbot"}
)
_TEXTS: Final = ("content", "text", "parts", "contents", "message", "input_text", "output_text", "transcript")
_INPUTS: Final = (
    "messages", "contents", "input", "prompt", "prompts", "query", "question", "task", "text", "content", "parts",
    "inputs", "value", "chat_history", "user_prompt", "kwargs", "args",
)  # fmt: skip
_OUTPUTS: Final = (
    "choices", "candidates", "content", "message", "parts", "output", "outputs", "generations", "response", "responses",
    "text", "answer", "result", "messages", "value", "data", "return_values", "final_output", "completion",
    "combined_chunk_content", "kwargs",
)  # fmt: skip


def beginnings(texts: pa.BinaryArray, quality: Flags) -> pa.StringArray:
    """Return the first 200 characters of each text, as it came."""
    cut = [None if text is None else _whole_characters(text[:_BYTES]) for text in texts.to_pylist()]
    return shortened(pa.array(cut, pa.binary()), quality)


def previews(texts: pa.BinaryArray, quality: Flags, *, of_input: bool) -> pa.StringArray:
    """Return of each text what the user said last in it, or the assistant says; else its beginning, as it came.

    At most 200 characters; null where the text is null or blank. ``quality`` is marked where it is not UTF-8.
    """
    rows: list[Int64s] = []
    pieces: list[pa.Array] = []
    for style in STYLES:
        found, cut = quick_texts(texts, style, of_user=of_input)
        if len(found) == len(texts):
            return cut
        rows.append(found)
        pieces.append(cut)
    rest = np.ones(len(texts), np.bool_)
    rest[np.concatenate(rows)] = False
    left = np.flatnonzero(rest)
    read = input_preview if of_input else output_preview
    slow = [None if text is None else read(text) for text in texts.take(pa.array(left)).to_pylist()]
    own = np.zeros(len(left), np.uint16)
    whole = pa.concat_arrays([*pieces, shortened(pa.array(slow, pa.binary()), own)])
    quality[left] |= own
    place = np.empty(len(texts), np.int64)
    place[np.concatenate([*rows, left])] = np.arange(len(texts))
    return whole.take(pa.array(place))


def input_preview(text: bytes) -> bytes | None:
    """Return the text of the user's last message; else the beginning of ``text``. See ``shortened``."""
    style = _STYLES.get(text[:10])
    at = -1 if style is None else text.rfind(style.user)
    quick = None if style is None or at < 0 else _text_after(text, at + len(style.user), style.heads)
    return quick or _slow(text, said_to)


def output_preview(text: bytes) -> bytes | None:
    """Return what the assistant says, or the tools that it calls; else the beginning of ``text``."""
    style = _STYLES.get(text[:10])
    is_one = style is not None and text.startswith(style.assistant)
    quick = _text_after(text, len(style.assistant), style.heads) if style is not None and is_one else None
    return quick or _slow(text, said_by)


_STYLES: Final = {style.opening[:10]: style for style in STYLES}


def shortened(previews: pa.BinaryArray, quality: Flags) -> pa.StringArray:
    """Return the previews themselves: without blanks at their ends, 200 characters at most, null if empty."""
    trimmed = pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(as_text(previews, quality)), 0, CHARACTERS)
    return pc.if_else(pc.equal(trimmed, pa.scalar("", pa.string())), pa.scalar(None, pa.string()), trimmed)


def preview_of(value: Any, find: Callable[[Any], str | None]) -> bytes | None:
    """Return the preview of a value that is no text; ``find`` is ``said_to`` or ``said_by``."""
    return None if value in (None, [], {}) else _cut(find(value) or _json(value))


def as_it_came(value: Any) -> bytes | None:
    """Return the beginning of a value that is no text, as JSON writes it."""
    return None if value is None else _cut(_json(value))


_ESCAPED: Final = re.compile(rb'[^"\\]*(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*)*')


def _text_after(text: bytes, at: int, heads: tuple[bytes, ...]) -> bytes | None:
    """Read the text that a message begins with; None if it begins with anything else."""
    for head in heads:
        if text.startswith(head, at):
            begin = at + len(head)
            piece = text[begin : begin + _BYTES]
            end = piece.find(b'"')
            if end >= 0:
                piece = piece[:end]
            if b"\\" in piece:
                return _unescaped(text[begin : begin + 2 * _BYTES])
            return piece if end >= 0 else _whole_characters(piece)
    return None


def _unescaped(piece: bytes) -> bytes | None:
    written = _ESCAPED.match(piece)
    try:
        return _cut(orjson.loads(b'"' + _whole_characters(written[0]) + b'"')) if written else None
    except orjson.JSONDecodeError:
        return None


def _whole_characters(piece: bytes) -> bytes:
    """Take off a character that was cut in two."""
    return piece if piece.isascii() else piece.decode("utf-8", "ignore").encode()


def _cut(text: str) -> bytes:
    return text[: CHARACTERS + _SLACK].encode("utf-8", "replace")


def _slow(text: bytes, find: Callable[[Any], str | None]) -> bytes | None:
    if text[:64].lstrip()[:1] in _OPENINGS:
        value = nested.parse(text)
        found = value if isinstance(value, str) else None if value is None else find(value)
        if found:
            return _cut(found)
    return _whole_characters(text[:_BYTES])


_OPENINGS: Final = (b"{", b"[", b'"')


def said_to(value: Any, levels: int = _MOST_LEVELS) -> str | None:
    """Find the text of the user's last message in a request, a list of messages, or a framework's state."""
    if levels == 0 or type(value) is str:
        return _unfolded(value, said_to, levels)
    if isinstance(value, list):
        value = [_of_pair(item) for item in value]
        # Results of tools come as messages of the user as well; those have no text.
        by_user = (_text_of(item, levels - 1) for item in reversed(value) if _role(item) in _USERS)
        last = next((item for item in reversed(value) if item), None)
        return (
            next((text for text in by_user if text), None)
            or _text_of(last, levels - 1)
            or (said_to(last, levels - 1) if isinstance(last, dict | list) else None)
        )
    return _member(value, _INPUTS, said_to, levels)


def said_by(value: Any, levels: int = _MOST_LEVELS) -> str | None:
    """Find the assistant's text in a response or list of messages, or the tool calls: ``name(arguments)``."""
    if levels == 0 or type(value) is str:
        return _unfolded(value, said_by, levels)
    if isinstance(value, list):
        return _said_in(value, levels)
    if not isinstance(value, dict):
        return None
    return _text_of(value, levels - 1) or _calls([value]) or _member(value, _OUTPUTS, said_by, levels)


def _said_in(items: list[Any], levels: int) -> str | None:
    """Of messages, those of the assistant that come last count; parts and choices all do."""
    items = [_of_pair(item) for item in items]
    end = next((i for i in range(len(items), 0, -1) if _role(items[i - 1]) in _ASSISTANTS), 0)
    begin = next((i for i in range(end, 0, -1) if _role(items[i - 1]) not in _ASSISTANTS), 0)
    last = items[begin:end] if end else items
    if end or (items and (_is_part(items[0]) or _is_call(items[0]))):
        return _text_of(last, levels - 1) or _calls(last)
    return said_by(items[-1], levels - 1) if items else None


def _member(value: Any, names: tuple[str, ...], find: Callable[..., str | None], levels: int) -> str | None:
    if not isinstance(value, dict):
        return None
    if "lc" in value and isinstance(value.get("kwargs"), dict):  # LangChain's constructor
        return _text_of(value["kwargs"], levels - 1) or _calls([value["kwargs"]])
    for name in names:
        inner = value.get(name)
        if inner:
            found: str | None = inner if type(inner) is str else find(inner, levels - 1)
            if found:
                return found
    return None


def _unfolded(value: Any, find: Callable[..., str | None], levels: int) -> str | None:
    if type(value) is not str:
        return None
    inner = nested.parse(value.encode("utf-8", "replace")) if levels and value[:1] in ("{", "[", '"') else None
    return (find(inner, levels - 1) if inner is not None else None) or value


def _role(item: Any) -> str:
    if not isinstance(item, dict) or item.get("event.name") == "gen_ai.unknown":  # Logfire's, of a thought
        return ""
    inner = item.get("message")
    if isinstance(inner, dict) and "role" in inner:  # a choice
        item = inner
    role = item.get("role") or item.get("message.role") or item.get("type")
    if role == "constructor":
        path = item.get("id")
        role = path[-1] if isinstance(path, list) and path else ""
    return role.rpartition(".")[2].lower() if isinstance(role, str) else ""


def _text_of(item: Any, levels: int) -> str | None:
    """Return the first text of a message or of its parts; calls of tools, thoughts and media have none."""
    if type(item) is str:
        return item
    if levels <= 0:
        return None
    if isinstance(item, list):
        return next((text for part in item if (text := _text_of(part, levels - 1))), None)
    if not isinstance(item, dict) or not _has_text(item):
        return None
    for name, mark in (("kwargs", "lc"), ("data", "type")):  # LangChain's two ways to write a message
        if mark in item and isinstance(item.get(name), dict):
            return _text_of(item[name], levels - 1)
    inner = (item.get(name) or item.get(f"message.{name}") for name in _TEXTS)
    return next((text for value in inner if value and (text := _text_of(value, levels - 1))), None)


def _has_text(item: dict[str, Any]) -> bool:
    kind = item.get("type")
    if kind == "tool" and ("content" in item or "data" in item):  # LangChain's answer of a tool
        return True
    return not (isinstance(kind, str) and kind.startswith(_NO_TEXT)) and not item.get("thought")


_NO_TEXT: Final = ("tool", "function", "reasoning", "thinking", "image", "blob", "uri", "file", "audio", "video",
                   "server_tool", "redacted", "web_search")  # fmt: skip


def _of_pair(item: Any) -> Any:
    """Return ``["user", "Hi"]``, as LangChain lets its users write a message, as one."""
    is_pair = isinstance(item, list) and len(item) == 2 and all(type(member) is str for member in item)
    return {"role": item[0], "content": item[1]} if is_pair and item[0].lower() in _PAIRED else item


_PAIRED: Final = _USERS | _ASSISTANTS | {"system"}


def _is_part(item: Any) -> bool:
    return isinstance(item, dict) and "role" not in item and isinstance(item.get("type"), str)


def _is_call(item: Any) -> bool:
    return isinstance(item, dict) and next(_calls_in(item, _MOST_LEVELS), None) is not None


def _calls(items: list[Any]) -> str | None:
    """Return the calls of tools in messages or parts, as ``name(arguments)``, one after another."""
    found = [call for item in items if isinstance(item, dict) for call in _calls_in(item, _MOST_LEVELS)]
    return ", ".join(found[:8]) or None


def _calls_in(item: dict[str, Any], levels: int) -> Iterator[str]:
    if levels == 0:
        return
    inner = next((item[key] for key in _CALLS if isinstance(item.get(key), dict)), item)
    name = next((inner[key] for key in _NAMES if isinstance(inner.get(key), str)), None)
    arguments = next((inner[key] for key in _ARGUMENTS if key in inner), None)
    kind = item.get("type")
    if name and (arguments is not None or (isinstance(kind, str) and kind.startswith(("tool", "function")))):
        yield f"{name}({_json(arguments) if arguments is not None else ''})"
        return
    for key in _LISTS:
        members = item.get(key)
        for member in members if isinstance(members, list) else [members]:
            if isinstance(member, dict):
                yield from _calls_in(member, levels - 1)


_CALLS: Final = ("function", "functionCall", "function_call", "toolUse", "tool_call")
_NAMES: Final = ("name", "toolName", "tool_name", "tool.name", "tool_call.function.name")
_ARGUMENTS: Final = ("arguments", "args", "input", "tool.args", "parameters", "tool_call.function.arguments")
_LISTS: Final = ("tool_calls", "toolCalls", "parts", "content", "contents", "additional_kwargs", "message")


def _json(value: Any) -> str:
    if type(value) is str:
        return value[:_BYTES]
    try:
        return orjson.dumps(value, default=str).decode()[:_BYTES]
    except (TypeError, RecursionError):
        return ""
