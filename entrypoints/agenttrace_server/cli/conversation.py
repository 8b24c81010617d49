"""What was said in spans, as ``agenttrace trace --messages`` prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agenttrace_server.cli.text import plain

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {"user": "bold blue", "assistant": "bold green", "system": "bold dim", "tool": "bold magenta"}
_LONGEST, _LONGEST_SYSTEM = 4_000, 600
"""Characters of one part that are printed; instructions are most often long, and the same every time."""


class Conversation:
    """Prints what spans were given and gave; what was printed before is not printed again."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def lines(self, span: dict[str, Any]) -> Iterator[Text]:
        """Iterate over the lines of one span, as the API tells it."""
        from rich.text import Text

        system = span.get("system_instructions")
        messages = [{"role": "system", "parts": system}] if system else []
        messages += [*(span.get("input_messages") or ()), *(span.get("output_messages") or ())]
        again = 0
        for message in messages:
            key = json.dumps([message["role"], message["parts"]], sort_keys=True)
            if key in self._told:
                again += 1
                continue
            self._told.add(key)
            if again:
                yield Text(f"… {again} as above", style="dim")
                again = 0
            yield from _message(message)
        if again:
            yield Text(f"… {again} as above", style="dim")


def _message(message: dict[str, Any]) -> Iterator[Text]:
    from rich.text import Text

    role = plain(message["role"], 20)
    head = Text(f"{role}: ", style=_STYLES.get(role, "bold"))
    longest = _LONGEST_SYSTEM if role == "system" else _LONGEST
    for part in message["parts"] or [{"type": "text", "content": ""}]:
        for text, style in _part(part, longest):
            yield head.append(text, style=style)
            head = Text(" " * (len(role) + 2))


def _part(part: dict[str, Any], longest: int) -> Iterator[tuple[str, str]]:
    kind = part.get("type")
    match kind:
        case "text":
            yield from _text(
                part.get("content"), "dim not bold" if part.get("parsed") is False else "not bold", longest
            )
        case "reasoning":
            yield from _text(part.get("content") or "(thoughts that the provider hides)", "italic dim not bold")
        case "tool_call":
            yield from _text(f"→ {part.get('name')}({_shown(part.get('arguments'))})", "yellow not bold")
        case "tool_call_response":
            failed = "✗ " if part.get("is_error") else ""
            yield from _text(f"← {failed}{part.get('name') or ''} {_shown(part.get('response'))}", "cyan not bold")
        case "blob" | "uri" | "file":
            what = part.get("media_id") or part.get("uri") or part.get("file_id")
            size = f", {part['bytes']:,} bytes" if isinstance(part.get("bytes"), int) else ""
            kind_of = part.get("mime_type") or part.get("modality") or kind
            yield f"[{plain(kind_of, 60)}{size}] {plain(what, 200)}", "blue not bold"
        case "document":
            score = f" ({part['score']})" if part.get("score") is not None else ""
            yield from _text(f"▪{score} {_shown(part.get('content'))}", "not bold")
        case "embedding":
            yield from _text(f"[a vector of {part.get('dimensions')} numbers]", "dim not bold")
        case _:
            yield from _text(f"[{kind}] {_shown({k: v for k, v in part.items() if k != 'type'})}", "dim not bold")


def _text(content: Any, style: str, longest: int = _LONGEST) -> Iterator[tuple[str, str]]:
    text = str(content or "")
    for line in text[:longest].split("\n"):
        yield plain(line, longest), style
    if len(text) > longest:
        yield f"… {len(text) - longest:,} characters more", "dim not bold"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
