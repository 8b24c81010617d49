"""Spans as OTLP/JSON, made from plain attributes."""

from __future__ import annotations

from typing import Any

from agenttrace_core.messages.content import SpanContent, span_content

TRACE, SPAN = "1" * 32, "2" * 16


def any_value(value: Any) -> dict[str, Any]:
    """Return a plain value as an OTLP/JSON ``AnyValue``."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [any_value(item) for item in value]}}
        case dict():
            return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON has them."""
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def span(attributes: dict[str, Any], *, name: str = "s", events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a span with these attributes, and events of ``{"name": …, attribute: value …}``."""
    told = [
        {"name": event["name"], "attributes": pairs({k: v for k, v in event.items() if k != "name"})}
        for event in events or ()
    ]
    return {"traceId": TRACE, "spanId": SPAN, "name": name, "attributes": pairs(attributes), "events": told}


def content(attributes: dict[str, Any], **more: Any) -> SpanContent:
    """Return what was said in a span with these attributes."""
    return span_content(span(attributes, **more))


def text(content: str) -> dict[str, Any]:
    """Return a part of text."""
    return {"type": "text", "content": content}


def said(role: str, *parts: dict[str, Any] | str) -> dict[str, Any]:
    """Return a message."""
    return {"role": role, "parts": [text(part) if isinstance(part, str) else part for part in parts]}


def call(call_id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    """Return a call of a tool."""
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def answer(call_id: str | None, name: str, response: Any) -> dict[str, Any]:
    """Return what a tool answered."""
    return {"type": "tool_call_response", "id": call_id, "name": name, "response": response}
