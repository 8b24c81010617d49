"""Previews: what lists show of a span. If these fail, people read brackets instead of what was said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttrace_core.normalise import previews
from tests.unit.normalise.spans import rows_of


def said(role: str, text: str, kind: str = "text") -> dict[str, Any]:
    return {"role": role, "parts": [{"type": kind, "content": text}]}


CALL = {"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "search", "arguments": {"q": "cats"}}]}
ANSWER = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "meow"}]}
FUNCTION = {"name": "search", "arguments": '{"q":"cats"}'}
OPENAI_CALL = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": FUNCTION}]}
TEXT = {"type": "text", "content": "what is this"}
THOUGHT = {"type": "reasoning", "content": "hm"}
BLOB = {"type": "blob", "content": "AAAA"}
LANGCHAIN = {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "lc"}}
RESPONSE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "responses"}]}
GEMINI_CALL = {"parts": [{"function_call": {"name": "f", "args": {"a": 1}}}], "role": "model"}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("gen_ai.input.messages", [said("user", "first"), said("assistant", "x"), said("user", "last")], "last"),
        ("gen_ai.input.messages", [said("system", "be kind"), said("user", 'say "hi"\n\u2603')], 'say "hi"\n\u2603'),
        ("gen_ai.input.messages", [said("user", "find cats"), CALL, ANSWER], "find cats"),
        ("gen_ai.input.messages", [{"role": "user", "parts": [BLOB, TEXT]}], "what is this"),
        ("gen_ai.input.messages", [{"content": "old", "role": "user"}], "old"),
        ("input.value", {"messages": [{"role": "user", "content": "u"}], "model": "m"}, "u"),
        ("pydantic_ai.all_messages", [said("user", "bet"), CALL, {**ANSWER, "role": "user"}], "bet"),
        ("tool_arguments", {"query": "cats"}, '{"query":"cats"}'),
        ("input.value", {"contents": [{"role": "user", "parts": [{"text": "gemini"}]}]}, "gemini"),
        ("input.value", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "r"}]}]}, "r"),
        ("input.value", {"messages": [[LANGCHAIN]]}, "lc"),
        ("langfuse.observation.input", "plain words", "plain words"),
        ("langfuse.observation.input", {"city": "Rome"}, '{"city":"Rome"}'),
        ("ai.prompt", {"prompt": "a haiku"}, "a haiku"),
        ("gen_ai.tool.call.arguments", {"q": "cats"}, '{"q":"cats"}'),
    ],
)  # fmt: skip
def test_the_input_is_what_the_user_said_last(key: str, value: Any, expected: str) -> None:
    for separators in ((",", ":"), (", ", ": ")):
        text = value if isinstance(value, str) else json.dumps(value, separators=separators)
        row = rows_of([{"attributes": {key: text}}]).to_pylist()[0]
        assert row["input_preview"].replace(": ", ":") == expected.replace(": ", ":")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("gen_ai.output.messages", [said("assistant", "done")], "done"),
        ("gen_ai.output.messages", [CALL], 'search({"q":"cats"})'),
        ("gen_ai.output.messages", [said("assistant", "let me look"), CALL], "let me look"),
        ("pydantic_ai.all_messages", [said("user", "q"), CALL, ANSWER, said("assistant", "end")], "end"),
        ("gen_ai.output.messages", [{"role": "assistant", "parts": [THOUGHT, TEXT]}], "what is this"),
        ("output.value", {"choices": [{"message": {"role": "assistant", "content": "openai"}}]}, "openai"),
        ("output.value", {"choices": [{"message": OPENAI_CALL}]}, 'search({"q":"cats"})'),
        ("output.value", {"content": [{"type": "text", "text": "anthropic"}], "role": "assistant"}, "anthropic"),
        ("output.value", {"content": [{"type": "tool_use", "name": "search", "input": {"q": 1}}]}, 'search({"q":1})'),
        ("output.value", {"candidates": [{"content": {"parts": [{"text": "gemini"}], "role": "model"}}]}, "gemini"),
        ("output.value", {"output": [RESPONSE]}, "responses"),
        ("gcp.vertex.agent.llm_response", {"content": GEMINI_CALL}, 'f({"a":1})'),
        ("ai.response.text", "words", "words"),
        ("ai.response.toolCalls", [{"toolCallId": "1", "toolName": "search", "input": {"q": 1}}], 'search({"q":1})'),
        ("gen_ai.tool.call.result", "42", "42"),
    ],
)  # fmt: skip
def test_the_output_is_the_answer_or_the_calls(key: str, value: Any, expected: str) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    assert rows_of([{"attributes": {key: text}}]).to_pylist()[0]["output_preview"] == expected


def test_messages_as_nested_values_and_as_numbered_attributes_are_read_as_well() -> None:
    numbered = {
        "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "s",
        "llm.input_messages.1.message.role": "user", "llm.input_messages.1.message.content": "u1",
        "llm.input_messages.10.message.role": "user",
        "llm.input_messages.10.message.contents.0.message_content.text": "u10",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
    }  # fmt: skip
    old = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "p", "gen_ai.completion.0.content": "c"}
    nested = {"gen_ai.input.messages": [said("user", "deep")], "gen_ai.output.messages": [CALL]}
    tool = {"tool_arguments": {"query": "cats"}, "tool_response": ["meow"]}
    rows = rows_of([{"attributes": a} for a in (numbered, old, nested, tool)]).to_pylist()
    assert [row["input_preview"] for row in rows] == ["u10", "p", "deep", '{"query":"cats"}']
    assert [row["output_preview"] for row in rows] == ["f({})", "c", 'search({"q":"cats"})', '["meow"]']


def event(name: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "attributes": attributes}


def test_what_events_of_the_span_say_is_read_where_no_attribute_does() -> None:
    chat = {"gen_ai.operation.name": "chat"}
    both = {
        "gen_ai.input.messages": json.dumps([said("user", "q")]),
        "gen_ai.output.messages": [said("assistant", "a")],
    }
    semantic = [event("gen_ai.user.message", content="hello"), event("gen_ai.choice", message='{"content": "hi"}')]
    details = [event("gen_ai.client.inference.operation.details", **both)]
    openlit = [
        event("gen_ai.content.prompt", **{"gen_ai.prompt": "user: x"}),
        event("gen_ai.content.completion", **{"gen_ai.completion": "y"}),
    ]
    rows = rows_of([{"attributes": chat, "events": e} for e in (semantic, details, openlit)]).to_pylist()
    assert [(row["input_preview"], row["output_preview"]) for row in rows] == [
        ("hello", "hi"), ("q", "a"), ("user: x", "y"),
    ]  # fmt: skip


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXTS), min_size=1, max_size=4), st.booleans())
def test_what_is_read_without_parsing_is_what_parsing_gives(turns: list[tuple[str, str]], blanks: bool) -> None:
    messages = [said(role, text) for role, text in turns]
    text = json.dumps(messages, ensure_ascii=False, separators=(", ", ": ") if blanks else (",", ":")).encode()
    batch = pa.array([b"x", text, None, text], pa.binary())
    found = previews.previews(batch, np.zeros(4, np.uint16), of_input=True).to_pylist()
    by_user = [spoken for role, spoken in turns if role == "user"]
    assert found[0::2] == ["x", None]
    assert found[1] == found[3]
    if by_user and by_user[-1].strip():
        assert found[1] == by_user[-1].strip()[:200]


def test_no_preview_reaches_into_the_text_of_the_next_span() -> None:
    """Texts lie end to end in memory: one that never closes must not show its neighbour's, who may be a stranger."""
    cut_off = b'[{"role":"user","parts":[{"type":"text","content":"mine'
    other = b'secret of another","z":"' + b"s" * 400
    found = previews.previews(
        pa.array([cut_off, other], pa.binary()), np.zeros(2, np.uint16), of_input=True
    ).to_pylist()
    assert found[0] == "mine"
