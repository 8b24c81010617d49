"""How one trace is told in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from agenttrace_server.cli.conversation import Conversation
from agenttrace_server.cli.trace_head import print_head
from agenttrace_server.cli.trace_line import Drawing
from agenttrace_server.cli.tree import branches

S = 10**9
SUMMARY: dict[str, Any] = {
    "trace_id": "1" * 32, "name": "answer", "start_ns": 0, "end_ns": 10 * S, "spans": 3, "errors": 1, "running": 0,
    "input_tokens": 1200, "output_tokens": 30, "cache_read_tokens": 1000, "reasoning_tokens": 7, "state": "complete",
    "cost_usd": "0.012300000000", "unpriced": 1, "models": ["gpt-4o"], "tools": [f"tool{i}" for i in range(9)],
    "output_preview": "In \x1b[31mLeeds", "has_root": True, "critical_path": [{"span_id": "b", "self_ns": 1}],
    "error": {"span_id": "c", "name": "track", "type": "TimeoutError", "message": "no answer", "reached_top": True},
    "missing_parents": [{"span_id": "f" * 16, "children": 2}],
    "clock_skew": [{"service": "depot", "skew_ns": -2 * S, "spans": 4}],
}  # fmt: skip


def printed(summary: dict[str, Any]) -> str:
    screen = Console(width=200, markup=False, highlight=False)
    with screen.capture() as captured:
        print_head(screen, summary)
    return captured.get()


def test_a_trace_in_a_few_lines() -> None:
    """Lost: what a trace was, took and cost, and why it failed, without reading all of its spans."""
    told = printed(SUMMARY)
    for piece in (
        "answer  complete", "10.00 s · 3 spans · 1 with errors", "1,200 tokens in (1,000 from cache)",
        "7 of them thoughts",
        "without 1 call of no known price", "models gpt-4o", "tool5 and 3 more", "✗ failed by TimeoutError: no answer",
        "parents that have not come: ffffffffffffffff", "depot 2.00 s ahead", r"In \x1b[31mLeeds",
    ):  # fmt: skip
        assert piece in told, piece
    assert "\x1b" not in told
    other = {**SUMMARY, "error": {**SUMMARY["error"], "reached_top": False, "type": None}, "has_root": False}
    assert "✗ got over an error: no answer" in printed(other)
    assert "no root has come" in printed(other)


def test_nothing_is_said_of_tokens_where_there_are_none() -> None:
    """Lost: a plain service's trace, which costs nothing and says so at length."""
    plain = {"trace_id": "1" * 32, "name": "get", "spans": 1, "cost_usd": "0.000000000000"}
    assert "tokens" not in printed(plain)


def test_a_line_tells_of_a_span() -> None:
    """Lost: which span it was that took the time, and the money."""
    spans = [
        {"span_id": "a", "name": "answer", "start_ns": 0, "duration_ns": 10 * S, "depth": 0, "kind": "server"},
        {"span_id": "b", "name": "chat", "start_ns": -5 * S, "skew_ns": 10 * S, "duration_ns": 5 * S, "depth": 1,
         "operation": "chat", "model": "gpt-4o", "input_tokens": 5, "output_tokens": 6, "cost_usd": "0.5",
         "counted": False},
        {"span_id": "c", "name": "track", "start_ns": 0, "duration_ns": None, "depth": 1, "status": "error",
         "quality": ["running"]},
    ]  # fmt: skip
    drawing = Drawing.of(SUMMARY, 150)
    lines = [drawing.line(branch).plain for branch in branches(spans)]
    assert lines[1].startswith("├─ chat ")
    assert lines[1].endswith(f"chat            ◆   5.00 s {' ' * 10}{'█' * 10} gpt-4o (5→6 $0.500)")
    assert "track ✗" in lines[2]
    assert " running " in lines[2]


def test_a_conversation_is_told_once() -> None:
    """Lost: what was said, behind ten repetitions of it; or the terminal, to what a model wrote."""
    user = {"role": "user", "parts": [{"type": "text", "content": "Where\x1b]0;x\x07 is it?"}]}
    call = {"type": "tool_call", "id": "1", "name": "track", "arguments": {"id": 7}}
    answer = {"role": "tool", "parts": [{"type": "tool_call_response", "name": "track", "response": "Leeds"}]}
    blob = {"type": "blob", "mime_type": "image/png", "media_id": "m1", "bytes": 1234}
    said = Conversation()
    first = {"input_messages": [user], "output_messages": [{"role": "assistant", "parts": [call, blob]}]}
    assert [line.plain for line in said.lines(first)] == [
        r"user: Where\x1b]0;x\x07 is it?", 'assistant: → track({"id": 7})', "           [image/png, 1,234 bytes] m1",
    ]  # fmt: skip
    second = {"input_messages": [user, answer], "output_messages": None, "system_instructions": None}
    assert [line.plain for line in said.lines(second)] == ["… 1 as above", "tool: ← track Leeds"]


def test_parts_of_any_make_are_neutral() -> None:
    """Lost: a sender who names a part as ours are named writes on the reader's terminal, or ends the command."""
    parts = [
        {"type": "embedding", "dimensions": "\x1b[2J"}, {"type": "blob", "bytes": "\x1b[2J"},
        {"type": "document", "score": "\x1b[2J", "content": ["\x1b[2J"]}, {"type": "\x1b[2J", "x": "\x1b[2J"},
        {"type": "tool_call", "name": ["\x1b[2J"], "arguments": {"\x1b[2J": 1}}, {"type": "uri", "uri": ["\x1b[2J"]},
    ]  # fmt: skip
    lines = [line.plain for line in Conversation().lines({"input_messages": [{"role": "\x1b[2J", "parts": parts}]})]
    assert len(lines) == len(parts)
    assert "\x1b" not in "".join(lines)
