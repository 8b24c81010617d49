"""Messages whose members are attributes of their own, numbered: ``llm.input_messages.3.message.content``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_USERS: Final = ("user", "human")
_ASSISTANTS: Final = ("assistant", "ai", "model")
FIRST: Final = (
    ".0.message.role", ".0.message.content", ".0.role", ".0.content", ".0.message.contents.0.message_content.text",
    ".0.message.tool_calls.0.tool_call.function.name", ".0.tool_calls.0.name", ".0.user",
)  # fmt: skip
"""What a first message has one of, by which spans that hold any are found."""


def last_said(pairs: Iterable[tuple[str, Any]], name: str, *, by_user: bool) -> str | None:
    """Return the text, or the calls, of the last message of the user (or of the assistant) under ``name``."""
    messages: dict[int, dict[str, Any]] = {}
    for key, value in pairs:
        number, _, path = key[len(name) + 1 :].partition(".")
        if key.startswith(name) and number.isdecimal() and len(number) < 10 and value not in (None, ""):
            messages.setdefault(int(number), {})[path.removeprefix("message.")] = value
    wanted = _USERS if by_user else _ASSISTANTS
    order = sorted(messages, reverse=True)
    order.sort(key=lambda number: str(messages[number].get("role", "")).lower() not in wanted)
    return next((said for number in order if (said := _said(messages[number]))), None)


def _said(message: dict[str, Any]) -> str | None:
    said = message.get("content") or message.get("user")  # OpenLLMetry's prompts of old
    if said:
        return str(said)
    texts = sorted(path for path in message if path.startswith("contents.") and path.endswith("message_content.text"))
    if texts:
        return str(message[texts[0]])
    called = sorted(path for path in message if "tool_call" in path and path.endswith("name"))
    calls = [f"{message[path]}({message.get(path.removesuffix('name') + 'arguments', '')})" for path in called[:8]]
    return ", ".join(calls) or None
