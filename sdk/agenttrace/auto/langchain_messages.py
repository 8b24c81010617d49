"""LangChain's messages, documents and results in OpenTelemetry's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agenttrace import semconv

Json = dict[str, Any]

_ROLES: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "function": "tool"}


def message(given: Any) -> Json:
    """Return a ``BaseMessage`` (or what stands in for one) as ``{role, parts}``."""
    if not hasattr(given, "content"):
        return {"role": "user", "parts": [{"type": "text", "content": given}]}
    kind = str(getattr(given, "type", "") or "user")
    role = str(getattr(given, "role", None) or _ROLES.get(kind, kind))
    if kind == "tool":
        part = {"type": "tool_call_response", "id": getattr(given, "tool_call_id", None), "response": given.content}
        return {"role": "tool", "parts": [part]}
    parts = _parts(given.content)
    for call in getattr(given, "tool_calls", None) or ():
        parts.append({"type": "tool_call", "id": call.get("id"), "name": call.get("name"),
                      "arguments": call.get("args")})  # fmt: skip
    return {"role": role, "parts": parts}


def documents(found: Sequence[Any]) -> list[Json]:
    """Return retrieved documents: content, metadata, id and score where they have them."""
    return [
        {
            "id": getattr(document, "id", None),
            "content": getattr(document, "page_content", None),
            "metadata": getattr(document, "metadata", None),
        }
        for document in found
    ]


def output_messages(result: Any) -> list[Json]:
    """Return the generations of an ``LLMResult``: a message each, with the reason that it ended."""
    found: list[Json] = []
    for generation in _generations(result):
        said = getattr(generation, "message", None)
        shown = message(said) if said is not None else _text_message(getattr(generation, "text", ""))
        reason = (getattr(generation, "generation_info", None) or {}).get("finish_reason") or _metadata(said).get(
            "finish_reason"
        )
        found.append(shown | {"finish_reason": str(reason or "unknown")})
    return found


def result_attributes(result: Any) -> Json:
    """Return what an ``LLMResult`` says of the call, without its content: model, id, tokens, why it ended."""
    said = next((m for g in _generations(result) if (m := getattr(g, "message", None)) is not None), None)
    metadata = _metadata(said)
    output = getattr(result, "llm_output", None) or {}
    found: Json = {}
    model = metadata.get("model_name") or metadata.get("model") or output.get("model_name")
    if isinstance(model, str):
        found[semconv.RESPONSE_MODEL] = model
    identity = metadata.get("id") or getattr(said, "id", None)
    if isinstance(identity, str) and not identity.startswith(("run-", "lc_run-")):
        found[semconv.RESPONSE_ID] = identity
    reasons = [m["finish_reason"] for m in output_messages(result) if m["finish_reason"] != "unknown"]
    if reasons:
        found[semconv.FINISH_REASONS] = reasons
    return found | _usage(getattr(said, "usage_metadata", None)) or _old_usage(output.get("token_usage"))


def _usage(usage: Any) -> Json:
    """``UsageMetadata``: totals include their parts, as OpenTelemetry's do."""
    if not isinstance(usage, Mapping):
        return {}
    of_input, of_output = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    counts = {
        semconv.INPUT_TOKENS: usage.get("input_tokens"),
        semconv.OUTPUT_TOKENS: usage.get("output_tokens"),
        semconv.CACHE_READ_TOKENS: of_input.get("cache_read"),
        semconv.CACHE_WRITE_TOKENS: of_input.get("cache_creation"),
        semconv.REASONING_TOKENS: of_output.get("reasoning"),
    }
    return {name: count for name, count in counts.items() if type(count) is int}


def _old_usage(usage: Any) -> Json:
    if not isinstance(usage, Mapping):
        return {}
    counts = {
        semconv.INPUT_TOKENS: usage.get("prompt_tokens"),
        semconv.OUTPUT_TOKENS: usage.get("completion_tokens"),
    }
    return {name: count for name, count in counts.items() if type(count) is int}


def _generations(result: Any) -> list[Any]:
    return [generation for row in getattr(result, "generations", None) or () for generation in row]


def _metadata(said: Any) -> Mapping[str, Any]:
    metadata = getattr(said, "response_metadata", None)
    return metadata if isinstance(metadata, Mapping) else {}


def _text_message(text: str) -> Json:
    return {"role": "assistant", "parts": [{"type": "text", "content": text}]}


def _parts(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    return [_part(part) for part in content or ()]


def _part(part: Any) -> Json:
    if not isinstance(part, Mapping):
        return {"type": "text", "content": part}
    kind = part.get("type")
    if kind in {"text", "input_text", "output_text"}:
        return {"type": "text", "content": part.get("text")}
    if kind in {"thinking", "reasoning"}:
        return {"type": "reasoning", "content": part.get("thinking") or part.get("reasoning") or part.get("summary")}
    if kind == "image_url":
        image = part.get("image_url")
        return {"type": "uri", "modality": "image", "uri": image.get("url") if isinstance(image, Mapping) else image}
    return dict(part)
