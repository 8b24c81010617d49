"""Media inside of messages: taken out, named, and found again by that name."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agenttrace_core.errors import NotFoundError
from agenttrace_core.messages.content import span_blob
from agenttrace_core.messages.media import MediaId
from tests.unit.messages.spans import SPAN, TRACE, content, span

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
TEXT = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{TEXT}"

IN_PARTS: dict[str, Any] = {
    "otel": {"type": "blob", "mime_type": "image/png", "content": TEXT},
    "otel, older": {"type": "blob", "modality": "image", "mime_type": "image/png", "data": TEXT},
    "pydantic-ai": {"type": "binary", "media_type": "image/png", "content": TEXT},
    "openai": {"type": "image_url", "image_url": {"url": URL}},
    "openai responses": {"type": "input_image", "image_url": URL},
    "openai file": {"type": "file", "file": {"filename": "a.png", "file_data": URL}},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TEXT}},
    "gemini": {"inlineData": {"mimeType": "image/png", "data": TEXT}},
    "gemini, python": {"inline_data": {"mime_type": "image/png", "data": TEXT.replace("+", "-").replace("/", "_")}},
    "vercel": {"type": "image", "image": TEXT, "mediaType": "image/png"},
    "vercel file": {"type": "file", "data": URL, "mediaType": "image/png"},
    "bedrock": {"image": {"format": "png", "source": {"bytes": TEXT}}},
    "openinference": {"message_content": {"type": "image", "image": {"image": {"url": URL}}}},
}
URLS: dict[str, Any] = {
    "openai": {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
    "anthropic": {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
    "pydantic-ai": {"type": "image-url", "url": "https://x/a.png"},
    "otel": {"type": "uri", "modality": "image", "uri": "https://x/a.png"},
}


def _message(part: Any) -> dict[str, Any]:
    return {"gen_ai.input.messages": json.dumps([{"role": "user", "parts": [part]}])}


def _part(attributes: dict[str, Any]) -> dict[str, Any]:
    messages = content(attributes).input_messages
    assert messages is not None
    part: dict[str, Any] = messages[0]["parts"][0]
    return part


@pytest.mark.parametrize("shape", IN_PARTS)
def test_a_picture_becomes_a_reference_that_leads_back_to_its_bytes(shape: str) -> None:
    """Lost otherwise: megabytes of base64 in the middle of a conversation, or the picture."""
    attributes = _message(IN_PARTS[shape])
    part = _part(attributes)
    media_id = part.pop("media_id")
    assert part == {"type": "blob", "modality": "image", "mime_type": "image/png", "bytes": len(PNG)}
    media = MediaId.parse(media_id)
    assert (media.trace_id, media.span_id) == (TRACE, SPAN)
    blob = span_blob(span(attributes), media.digest)
    assert blob is not None
    assert (blob.data, blob.mime_type) == (PNG, "image/png")


@pytest.mark.parametrize("shape", URLS)
def test_a_url_stays_a_url(shape: str) -> None:
    """Lost otherwise: where a picture is; and the reader's privacy, if the server fetched it."""
    assert _part(_message(URLS[shape])) == {"type": "uri", "modality": "image", "uri": "https://x/a.png"}


def test_media_inside_of_arguments_results_and_what_nobody_knows() -> None:
    """Lost otherwise: base64 wherever a dialect did not expect it."""
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "draw"}
    result = {"note": "done", "content": [{"data": TEXT, "media_type": "image/png", "kind": "binary"}], "url": URL}
    found = content({**tool, "gen_ai.tool.call.result": json.dumps(result)})
    assert TEXT not in json.dumps([found.output_messages, found.output])
    assert json.dumps(found.output_messages).count("media_id") == 2
    found = content({"input.value": json.dumps({"screen": {"shot": URL}})})
    assert TEXT not in json.dumps([found.input_messages, found.input])


def test_a_result_of_parts_keeps_its_parts() -> None:
    """Lost otherwise: the text beside a picture that a tool gave."""
    items = [
        {"type": "text", "text": "see"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TEXT}},
    ]
    part = {"type": "tool_result", "tool_use_id": "c1", "content": items}
    response = _part(_message(part))["response"]
    assert [item["type"] for item in response] == ["text", "blob"]


def test_speech_has_its_words_beside_it() -> None:
    """Lost otherwise: what a model said aloud, for whoever reads."""
    audio = {"id": "a", "data": base64.b64encode(b"RIFF\0\0\0\0WAVEfmt ").decode(), "transcript": "In Leeds."}
    body = {"choices": [{"message": {"role": "assistant", "content": None, "audio": audio}}]}
    messages = content({"output.value": json.dumps(body)}).output_messages
    assert messages is not None
    assert [part["type"] for part in messages[0]["parts"]] == ["text", "blob"]
    assert messages[0]["parts"][1]["mime_type"] == "audio/wav"


def test_what_is_no_base64_is_shown_as_it_came() -> None:
    """Lost otherwise: texts that only look like media."""
    part = _part(_message({"type": "blob", "mime_type": "image/png", "content": "not base64!"}))
    assert part["content"] == "not base64!"
    assert _part({"input.value": "data:,hello"})["content"] == "data:,hello"


def test_a_type_that_is_none_is_told_by_the_bytes() -> None:
    """Lost otherwise: a header that a sender could write into answers."""
    part = _part(_message({"type": "blob", "mime_type": "image/png\r\nset-cookie: x", "content": TEXT}))
    assert part["mime_type"] == "image/png"


@pytest.mark.parametrize("forged", ["", "x", "!" * 54, "A" * 400, "é" * 54])
def test_ids_that_name_nothing(forged: str) -> None:
    """Lost otherwise: a clear answer to a wrong id."""
    with pytest.raises(NotFoundError):
        MediaId.parse(forged)
