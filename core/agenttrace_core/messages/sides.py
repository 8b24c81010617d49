"""The two sides of a span: what it was given, and what it gave, out of the first attribute that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agenttrace_core.messages import sources
from agenttrace_core.messages.conversation import Conversation, Reader
from agenttrace_core.messages.flat import numbered
from agenttrace_core.messages.media import Media, Part
from agenttrace_core.messages.message import Message, is_message, read_message
from agenttrace_core.messages.parts import raw_part, read_parts, response_value, text_part
from agenttrace_core.messages.values import first, first_text, shown, unfolded

Attributes = Mapping[str, Any]

_EMPTY: Final = ("", "{}", "[]", "null", "[{}]")
_WRAPPERS: Final = ("message", "prompt", "completion", "document", "tool", "embedding")


@dataclass(frozen=True, slots=True)
class Side:
    """Messages, where they came from, and the value itself where they do not say all of it."""

    messages: list[Message]
    source: str
    raw: Any = None
    system: list[Part] | None = None
    tools: Any = None


def value_of(attributes: Attributes, source: str) -> Any:
    """Return what a source of ``sources`` says; None if nothing, or nothing but brackets."""
    if source.endswith("{}"):
        return numbered(attributes, source[:-2]) or None
    value = attributes.get(source)
    return None if value in _EMPTY or value in ([], {}) else value


def read_side(attributes: Attributes, names: Iterable[str], role: str, media: Media) -> Side | None:
    """Read the first source that holds messages; where none does, the first that holds anything, as it came."""
    raw: tuple[str, Any] | None = None
    for name in names:
        value = value_of(attributes, name)
        if value is None:
            continue
        if name in sources.ANSWERS:
            return Side([{"role": role, "parts": [text_part(shown(value))]}], name, None)
        conversation = _numbered(value, role, media) if name.endswith("{}") else Reader(role, media).read(value)
        if conversation is not None:
            left = None if conversation.whole else media.taken_out(unfolded(value))
            return Side(conversation.messages, name, left, conversation.system or None, conversation.tools)
        raw = raw or (name, value)
    return None if raw is None else _as_it_came(*raw, role, media)


def tool_call_side(attributes: Attributes, span_name: str, media: Media) -> Side | None:
    """Read the call that a tool's span is of."""
    found = _said(attributes, sources.ARGUMENTS)
    if found is None:
        return None
    arguments = media.taken_out(_call_of(unfolded(found[1])))
    name, call_id = _tool(attributes, span_name)
    part = {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}
    return Side([{"role": "assistant", "parts": [part]}], found[0], arguments)


def tool_response_side(attributes: Attributes, span_name: str, media: Media) -> Side | None:
    """Read what the tool of a span answered."""
    found = _said(attributes, sources.RESULTS)
    if found is None:
        return None
    response, answered = _answer_of(unfolded(found[1]), media)
    name, call_id = _tool(attributes, span_name)
    call_id = call_id or answered
    part = {"type": "tool_call_response", "id": call_id, "name": name, "response": response}
    return Side([{"role": "tool", "parts": [part]}], found[0], response)


def run_sides(attributes: Attributes, media: Media) -> tuple[Side | None, Side | None]:
    """Read a list of all that was said in a run: what is last of the assistant is its output."""
    found = _first(attributes, sources.RUNS)
    conversation = None if found is None else Reader("user", media).read(found[1])
    if found is None or conversation is None:
        return None, None
    given, gave = parted(conversation.messages)
    return Side(given, found[0]) if given else None, Side(gave, found[0]) if gave else None


def parted(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """Part all that was said into what came before, and what the assistant said last."""
    end = len(messages)
    while end and messages[end - 1]["role"] == "assistant":
        end -= 1
    return messages[:end], messages[end:]


def vercel_output(attributes: Attributes, media: Media) -> Side | None:
    """Put Vercel's ``ai.response.{reasoning,text,toolCalls,files}`` together into one message."""
    for prefix in ("ai.response", "ai.result"):
        parts: list[Part] = []
        if thought := first_text(attributes, f"{prefix}.reasoning", f"{prefix}.reasoningText"):
            parts.append({"type": "reasoning", "content": thought})
        parts += read_parts(first_text(attributes, f"{prefix}.text"), media)
        for name, kind in (("toolCalls", "tool-call"), ("files", "file")):
            items = unfolded(attributes.get(f"{prefix}.{name}"))
            items = items if isinstance(items, list) else []
            parts += read_parts([{"type": kind, **item} for item in items if isinstance(item, dict)], media)
        if parts:
            message: Message = {"role": "assistant", "parts": parts}
            if finish := first_text(attributes, f"{prefix}.finishReason"):
                message["finish_reason"] = finish
            return Side([message], prefix)
    return None


def embedded_texts(attributes: Attributes) -> Side | None:
    """Read the texts of which embeddings were made."""
    items = [_unwrapped(item) for item in numbered(attributes, "embedding.embeddings")]
    texts = [item.get("text") for item in items if isinstance(item, dict)]
    source = "embedding.embeddings{}"
    if not any(texts) and (found := _first(attributes, sources.EMBEDDED)):
        source, value = found[0], unfolded(found[1])
        texts = [unfolded(text) for text in (value if isinstance(value, list) else [value])]
    parts: list[Part] = [{"type": "text", "content": shown(text)} for text in texts if text]
    return Side([{"role": "user", "parts": parts}], source) if parts else None


def embeddings(attributes: Attributes) -> Side | None:
    """Tell of each vector how long it is. Its numbers are among the raw attributes."""
    items = [_unwrapped(item) for item in numbered(attributes, "embedding.embeddings")]
    vectors = [unfolded(item.get("vector")) for item in items if isinstance(item, dict)]
    source = "embedding.embeddings{}"
    if not any(vectors) and (found := _first(attributes, sources.VECTORS)):
        source, value = found[0], unfolded(found[1])
        vectors = [value] if isinstance(value, list) and value and isinstance(value[0], int | float) else value
        vectors = [unfolded(vector) for vector in vectors] if isinstance(vectors, list) else []
    lengths = [len(vector) for vector in vectors if isinstance(vector, list | str) and vector]
    parts: list[Part] = [{"type": "embedding", "dimensions": length} for length in lengths]
    return Side([{"role": "assistant", "parts": parts}], source) if parts else None


def documents(attributes: Attributes, names: Iterable[str], role: str, media: Media) -> Side | None:
    """Read the documents that a retrieval or reranking gave, or was given, with their scores."""
    for name in names:
        items = unfolded(value_of(attributes, name))
        if name in sources.HOLD_DOCUMENTS:
            items = unfolded(items.get("documents")) if isinstance(items, dict) else None
        found = [_unwrapped(item) for item in (items if isinstance(items, list) else [])]
        parts: list[Part] = [_document(item, media) for item in found if isinstance(item, dict | str)]
        if parts:
            return Side([{"role": role, "parts": parts}], name)
    return None


def _document(item: dict[str, Any] | str, media: Media) -> Part:
    if isinstance(item, str):
        return {"type": "document", "content": item}
    told = {key.removeprefix("document."): value for key, value in item.items() if value is not None}
    for name in ("text", "page_content"):
        if name in told and "content" not in told:
            told["content"] = told.pop(name)
    if "metadata" in told:
        told["metadata"] = unfolded(told["metadata"])
    return {**media.taken_out(told), "type": "document"}


def _numbered(items: list[Any], role: str, media: Media) -> Conversation | None:
    messages: list[Message] = []
    for item in map(_unwrapped, items):
        if isinstance(item, dict):
            message = read_message(item, role, media)
            if message["parts"]:
                messages.append(message)
        elif isinstance(item, str) and item:
            messages.append({"role": role, "parts": read_parts(item, media)})
    return Conversation(messages) if messages else None


def _unwrapped(item: Any) -> Any:
    """Take an item out of the name of its kind, as OpenInference wraps it: ``{"message": {…}}``."""
    if isinstance(item, dict) and len(item) == 1:
        inner = first(item, _WRAPPERS)
        return item if inner is None else inner
    return item


def _as_it_came(name: str, value: Any, role: str, media: Media) -> Side:
    before = media.taken
    raw = media.taken_out(unfolded(value))
    return Side([{"role": role, "parts": [raw_part(value if media.taken == before else raw)]}], name, raw)


def _said(attributes: Attributes, names: Iterable[str]) -> tuple[str, Any] | None:
    """Find what a tool was given or gave, which may well be ``{}``."""
    return next(((name, value) for name in names if not _is_nothing(value := attributes.get(name))), None)


def _first(attributes: Attributes, names: Iterable[str]) -> tuple[str, Any] | None:
    return next(((name, value) for name in names if (value := value_of(attributes, name)) is not None), None)


def _call_of(value: Any) -> Any:
    """Return the arguments out of what LangChain tells its listeners of a call."""
    if not isinstance(value, dict) or "input_str" not in value:
        return value
    return value.get("inputs") or unfolded(value["input_str"])


def _answer_of(value: Any, media: Media) -> tuple[Any, str | None]:
    """Return a tool's answer, and of which call it says to be: frameworks wrap it into a message."""
    inner = value.get("output") if isinstance(value, dict) and "kwargs" in value else None
    for given in map(_out_of_data, (value, inner)):
        message = read_message(given, "tool", media) if is_message(given) else None
        if message and message["role"] == "tool" and message["parts"]:
            part = message["parts"][0]
            return part.get("response"), part.get("id")
    if isinstance(value, list):
        return response_value(value, media), None
    return media.taken_out(value if inner is None else inner), None


def _out_of_data(value: Any) -> Any:
    """Take a message out of ``{"type": "tool", "data": {…}}``, as LangChain writes one down."""
    is_one = isinstance(value, dict) and isinstance(value.get("data"), dict) and isinstance(value.get("type"), str)
    return {"type": value["type"], **value["data"]} if is_one else value


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in {"", "null"})


def _tool(attributes: Attributes, span_name: str) -> tuple[str, str | None]:
    return first_text(attributes, *sources.TOOL_NAMES) or span_name, first_text(attributes, *sources.TOOL_IDS)
