"""Requests and answers of OpenAI's APIs (chat completions, responses, embeddings) as attributes of a span.

Messages become OpenTelemetry's ``[{role, parts: [{type, …}]}]``. Everything here takes plain JSON values and never
raises on a shape that it does not know: what it does not understand it passes on as it is.
https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agenttrace import semconv

Json = dict[str, Any]

_REQUEST: Final = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "n": "gen_ai.request.choice.count",
    "stream": "gen_ai.request.stream",
    "reasoning_effort": "gen_ai.request.reasoning.level",
    "previous_response_id": "gen_ai.request.previous_response.id",
    "dimensions": "gen_ai.embeddings.dimension.count",
}


# --- What is asked ---------------------------------------------------------------------------------


def request_attributes(request: Mapping[str, Any]) -> Json:
    """Return what a request says of the call, without its content."""
    found: Json = {}
    if isinstance(request.get("model"), str):
        found[semconv.REQUEST_MODEL] = request["model"]
    for name, attribute in _REQUEST.items():
        value = request.get(name)
        if type(value) in {str, int, float, bool}:
            found[attribute] = value
    reasoning = request.get("reasoning")
    if isinstance(reasoning, Mapping) and isinstance(reasoning.get("effort"), str):
        found["gen_ai.request.reasoning.level"] = reasoning["effort"]
    stop = request.get("stop")
    if isinstance(stop, (str, list)):
        found["gen_ai.request.stop_sequences"] = [stop] if isinstance(stop, str) else [str(item) for item in stop]
    return found


def request_content(request: Mapping[str, Any]) -> Json:
    """Return the content of a request: messages, instructions and tools, by attribute."""
    found: Json = {}
    if isinstance(request.get("messages"), list):
        found[semconv.INPUT_MESSAGES] = [chat_message(message) for message in request["messages"]]
    elif "input" in request:
        given = request["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        found[semconv.INPUT_MESSAGES] = response_items(items) if isinstance(items, list) else items
    elif "prompt" in request:
        found[semconv.INPUT_MESSAGES] = [_message("user", [_text(request["prompt"])])]
    if isinstance(request.get("instructions"), str):
        found[semconv.SYSTEM_INSTRUCTIONS] = [_text(request["instructions"])]
    if isinstance(request.get("tools"), list):
        found[semconv.TOOL_DEFINITIONS] = [_tool(tool) for tool in request["tools"]]
    return found


def chat_message(message: Any) -> Json:
    """Return a message of chat completions, of a request or an answer."""
    if not isinstance(message, Mapping):
        return _message("user", [_text(message)])
    role = str(message.get("role") or "assistant")
    content = message.get("content")
    if role == "tool":
        response = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
        return _message(role, [response])
    parts = [_reasoning(message[key]) for key in ("reasoning_content", "reasoning") if message.get(key)][:1]
    parts += [_text(content)] if isinstance(content, str) else [_part(part) for part in content or ()]
    if message.get("refusal"):
        parts.append({"type": "refusal", "content": message["refusal"]})
    parts += [_tool_call(call) for call in message.get("tool_calls") or ()]
    if isinstance(message.get("function_call"), Mapping):
        parts.append(_tool_call({"function": message["function_call"]}))
    return _message(role, parts)


def response_items(items: Sequence[Any]) -> list[Json]:
    """Return the items of the responses API, of a request or an answer, as messages."""
    return [_response_item(item) for item in items]


def _response_item(item: Any) -> Json:
    if not isinstance(item, Mapping):
        return _message("user", [_text(item)])
    kind = item.get("type")
    if kind in {"function_call", "custom_tool_call"}:
        arguments = item.get("arguments", item.get("input"))
        call = {"type": "tool_call", "id": item.get("call_id"), "name": item.get("name"), "arguments": _json(arguments)}
        return _message("assistant", [call])
    if kind in {"function_call_output", "custom_tool_call_output"}:
        response = {"type": "tool_call_response", "id": item.get("call_id"), "response": item.get("output")}
        return _message("tool", [response])
    if kind == "reasoning":
        texts = [part.get("text", "") for part in item.get("summary") or () if isinstance(part, Mapping)]
        return _message("assistant", [_reasoning("\n".join(texts))])
    if kind not in {None, "message"}:
        return _message("assistant", [dict(item)])
    content = item.get("content")
    parts = [_text(content)] if isinstance(content, str) else [_part(part) for part in content or ()]
    return _message(str(item.get("role") or "user"), parts)


# --- What is answered ------------------------------------------------------------------------------


def response_attributes(response: Mapping[str, Any]) -> Json:
    """Return what an answer says of the call, without its content: model, id, tokens, why it ended."""
    found: Json = {}
    if isinstance(response.get("model"), str):
        found[semconv.RESPONSE_MODEL] = response["model"]
    if isinstance(response.get("id"), str):
        found[semconv.RESPONSE_ID] = response["id"]
    reasons = [choice.get("finish_reason") for choice in _choices(response)]
    if not reasons and isinstance(response.get("status"), str):
        reasons = [response["status"]]
    if any(reasons):
        found[semconv.FINISH_REASONS] = [str(reason) for reason in reasons if reason]
    return found | usage_attributes(response.get("usage"))


def usage_attributes(usage: Any) -> Json:
    """Return the tokens of an answer: totals and parts."""
    if not isinstance(usage, Mapping):
        return {}
    details = [usage.get(f"{side}_tokens_details") for side in ("prompt", "input")]
    read = next((d.get("cached_tokens") for d in details if isinstance(d, Mapping)), None)
    details = [usage.get(f"{side}_tokens_details") for side in ("completion", "output")]
    thought = next((d.get("reasoning_tokens") for d in details if isinstance(d, Mapping)), None)
    counts = {
        semconv.INPUT_TOKENS: usage.get("prompt_tokens", usage.get("input_tokens")),
        semconv.OUTPUT_TOKENS: usage.get("completion_tokens", usage.get("output_tokens")),
        semconv.CACHE_READ_TOKENS: read,
        semconv.REASONING_TOKENS: thought,
    }
    return {name: count for name, count in counts.items() if type(count) is int}


def response_content(response: Mapping[str, Any]) -> Json:
    """Return the content of an answer, by attribute."""
    choices = _choices(response)
    if choices:
        return {semconv.OUTPUT_MESSAGES: [_choice(choice) for choice in choices]}
    if isinstance(response.get("output"), list):
        return {semconv.OUTPUT_MESSAGES: response_items(response["output"])}
    return {}


def _choice(choice: Mapping[str, Any]) -> Json:
    message = choice.get("message")
    if message is None and "text" in choice:
        message = {"role": "assistant", "content": choice["text"]}
    return chat_message(message or {}) | {"finish_reason": choice.get("finish_reason") or "unknown"}


def _choices(response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices = response.get("choices")
    return [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []


# --- Streams -----------------------------------------------------------------------------------


def joined_chunks(chunks: Sequence[Mapping[str, Any]]) -> Json:
    """Return the answer that a stream's chunks or events make up together, as far as they came."""
    whole: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        if isinstance(chunk.get("response"), Mapping):  # an event of the responses API, each of which has all so far
            whole = dict(chunk["response"])
            continue
        for name in ("id", "model", "usage", "service_tier"):
            if chunk.get(name) is not None:
                whole[name] = chunk[name]
        for part in _choices(chunk):
            _add_choice(choices, part)
    if not whole.get("output") and (
        done := [c["item"] for c in chunks if c.get("type") == "response.output_item.done"]
    ):
        whole["output"] = done
    if choices:
        whole["choices"] = [choices[index] for index in sorted(choices)]
    return whole


def _add_choice(choices: dict[int, Json], part: Mapping[str, Any]) -> None:
    index = part.get("index")
    choice = choices.setdefault(index if type(index) is int else 0, {"message": {"role": "assistant"}})
    if part.get("finish_reason"):
        choice["finish_reason"] = part["finish_reason"]
    if isinstance(part.get("text"), str):
        choice["message"]["content"] = choice["message"].get("content", "") + part["text"]
    delta = part.get("delta")
    if not isinstance(delta, Mapping):
        return
    message = choice["message"]
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        if isinstance(delta.get(name), str):
            message[name] = message.get(name, "") + delta[name]
    for call in delta.get("tool_calls") or ():
        if isinstance(call, Mapping):
            _add_call(message.setdefault("tool_calls", []), call)


def _add_call(calls: list[Json], part: Mapping[str, Any]) -> None:
    index = part.get("index")
    at = index if type(index) is int and 0 <= index < 1_000 else max(0, len(calls) - 1)
    while len(calls) <= at:
        calls.append({"function": {"arguments": ""}})
    call = calls[at]
    if part.get("id"):
        call["id"] = part["id"]
    function = part.get("function")
    if isinstance(function, Mapping):
        if function.get("name"):
            call["function"]["name"] = function["name"]
        call["function"]["arguments"] += function.get("arguments") or ""


# --- Parts -------------------------------------------------------------------------------------


def _message(role: str, parts: list[Json]) -> Json:
    return {"role": role, "parts": parts}


def _text(content: Any) -> Json:
    return {"type": "text", "content": content}


def _reasoning(content: Any) -> Json:
    return {"type": "reasoning", "content": content}


def _part(part: Any) -> Json:
    if not isinstance(part, Mapping):
        return _text(part)
    kind = part.get("type")
    if kind in {"text", "input_text", "output_text"}:
        return _text(part.get("text"))
    if kind in {"image_url", "input_image"}:
        image = part.get("image_url")
        return _media("image", image.get("url") if isinstance(image, Mapping) else image)
    if kind == "input_audio" and isinstance(part.get("input_audio"), Mapping):
        audio = part["input_audio"]
        mime_type = f"audio/{audio.get('format', 'wav')}"
        return {"type": "blob", "modality": "audio", "mime_type": mime_type, "content": audio.get("data")}
    return dict(part)


def _media(modality: str, url: Any) -> Json:
    if isinstance(url, str) and url.startswith("data:"):
        head, _, data = url.partition(",")
        return {"type": "blob", "modality": modality, "mime_type": head[5:].partition(";")[0], "content": data}
    return {"type": "uri", "modality": modality, "uri": url}


def _tool_call(call: Any) -> Json:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return {"type": "tool_call", "name": None, "arguments": call}
    arguments = _json(function.get("arguments"))
    return {"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": arguments}


def _tool(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return {"type": "function", **function} if isinstance(function, Mapping) else tool


def _json(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
