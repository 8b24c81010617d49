"""What senders may write where messages are meant: whatever it is, there is an answer."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.messages import sources
from agenttrace_core.messages.content import span_content
from agenttrace_core.wire import json_text
from tests.unit.messages.spans import content, said, span, text

_DEEP = 5_000
_KEYS = [
    key.replace("{}", f".{i}")
    for i, key in enumerate(
        (*sources.INPUT, *sources.OUTPUT, *sources.ARGUMENTS, *sources.RESULTS, *sources.TOOLS, *sources.SYSTEM,
         *sources.RUNS, *sources.EVENT_LISTS, *sources.DOCUMENTS, *sources.VECTORS)
    )
]  # fmt: skip
_WORDS = [
    "role", "content", "parts", "type", "text", "tool_calls", "function", "name", "arguments", "messages",
    "choices", "message", "input", "output", "lc", "kwargs", "id", "image_url", "url", "source", "data",
    "generations", "candidates", "tool_use", "tool_result", "user", "assistant", "tool", "thinking", "reasoning",
    "blob", "document", "response", "toolCallId", "toolName", "tool.name", "tool.args", "message.role",
    "message.content", "__proto__", "", "constructor", "functionCall", "functionResponse", "inline_data",
    "mime_type", "image", "file", "event.name", "gen_ai.choice", "source",
]  # fmt: skip
_BROKEN = ["[", "{'", "(((", '{"a":', "b'x'", "{'a': ...}", "[1,]"]
_WORD = st.sampled_from(_WORDS)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | _WORD | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORD | st.text(max_size=4), inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(_KEYS), _ANYTHING, min_size=1, max_size=4), st.booleans())
def test_any_json_at_all_has_an_answer(attributes: dict[str, Any], is_tool: bool) -> None:
    """Lost otherwise: the page of every span whose sender had an idea of his own."""
    given = {key: json.dumps(value) for key, value in attributes.items()}
    if is_tool:
        given["gen_ai.operation.name"] = "execute_tool"
    found = content(given)
    for messages in (found.input_messages, found.output_messages):
        for message in messages or ():
            assert isinstance(message["role"], str)
            assert all(isinstance(part["type"], str) for part in message["parts"])
    assert json_text.dumps([found.input_messages, found.output_messages, found.input, found.output])


@given(
    st.dictionaries(st.sampled_from(_KEYS), st.text(max_size=40) | st.sampled_from(["[", "{'", "(((", '{"a":', "b'x'"]))
)
def test_any_text_at_all_has_an_answer(attributes: dict[str, str]) -> None:
    """Lost otherwise: the same, for text that begins like JSON or Python."""
    span_content(span(attributes))


@pytest.mark.parametrize(
    "deep",
    [
        "[" * _DEEP + "]" * _DEEP,
        '{"messages":' * _DEEP + "[]" + "}" * _DEEP,
        '{"role":"user","content":' * _DEEP + '"x"' + "}" * _DEEP,
        '[{"role":"user","parts":' * _DEEP + "[]" + "}]" * _DEEP,
        "(" * _DEEP + ")" * _DEEP,
        "{'a':" * 90 + "1" + "}" * 90,
    ],
)  # fmt: skip
def test_nesting_without_end_has_an_answer(deep: str) -> None:
    """Lost otherwise: the process, whose stack a sender must not be able to fill."""
    for attributes in (
        {"input.value": deep}, {"gen_ai.input.messages": deep}, {"gen_ai.tool.definitions": deep},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": deep}, {"events": deep},
    ):  # fmt: skip
        found = content(attributes)
        assert json_text.dumps([found.input_messages, found.tool_definitions, found.input])


def test_nested_attribute_values_without_end() -> None:
    """Lost otherwise: the same, where the nesting is the protobuf's."""
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(_DEEP):
        value = {"kvlistValue": {"values": [{"key": "content", "value": value}]}}
    found = span_content({"attributes": [{"key": "gen_ai.input.messages", "value": value}]})
    assert found.input_messages is not None


@pytest.mark.parametrize(
    "large",
    [
        "x" * 8_000_000,
        json.dumps([{"role": "user", "content": "x" * 8_000_000}]),
        json.dumps([{"role": "user", "content": "x"}] * 200_000),
        json.dumps([{"role": "assistant", "tool_calls": [{"function": {"name": f"t{i}"}} for i in range(60_000)]}]
                   + [{"role": "tool", "name": "t", "content": "x"}] * 60_000),
        "[" + "{'a': 'b'}, " * 700_000 + "]",
        "{'a': '" + "\\'" * 2_000_000,
        "role='" + "\\" * 4_000_000,
    ],
    ids=["text", "one message", "many messages", "calls without ids", "a long repr", "an unended repr", "backslashes"],
)  # fmt: skip
def test_eight_megabytes_take_seconds_at_most(large: str) -> None:
    """Lost otherwise: the process's time, to one span."""
    began = time.process_time()
    assert content({"input.value": large}).input_messages
    assert time.process_time() - began < 5


def test_numbers_beyond_reason() -> None:
    """Lost otherwise: memory, to a message numbered two billion; or a text, to what is below it."""
    found = content({
        "llm.input_messages.2000000000.message.content": "late", "llm.input_messages.1.message.content": "early",
        "llm.input_messages.1.message.content.deeper": "x",
        "llm.input_messages.99999999999999999999.message.content": "x",
        "llm.input_messages..": "x", "llm.input_messages.x.message": "x", "llm.input_messages" + ".1" * 500: "x",
    })  # fmt: skip
    assert found.input_messages is None or all(message["parts"] for message in found.input_messages)
    found = content(
        {"llm.input_messages.900000000.message.content": "late", "llm.input_messages.1.message.content": "early"}
    )
    assert found.input_messages == [said("user", "early"), said("user", "late")]


@pytest.mark.parametrize("kind", [["user"], {"a": 1}, 5, None, True])
def test_a_type_that_is_no_text(kind: Any) -> None:
    """Lost otherwise: the whole span, to one member of one of its messages."""
    of_a_tool = {"role": "tool", "content": [{"type": kind, "text": "x"}]}
    for value in ({"type": kind, "content": "x"}, [{"type": kind}], {"messages": [{"type": kind}]}, of_a_tool):
        for key in ("input.value", "gen_ai.input.messages", "gen_ai.output.messages"):
            span_content(span({key: json.dumps(value)}))


@pytest.mark.parametrize("key", ["input.value", "gen_ai.input.messages", "gen_ai.tool.call.arguments"])
@pytest.mark.parametrize("shape", ["{{'a': {}}}", "{{{}: 1}}", "[{{'role': 'user', 'content': {}}}]", "({},)"])
def test_integers_that_python_reads_and_does_not_write(key: str, shape: str) -> None:
    """A literal in hex has no bound, its decimal form has one: a span that holds it could not be looked at."""
    attributes = {key: shape.format("0x" + "f" * 6_000), "gen_ai.operation.name": "execute_tool"}
    found = span_content(span(attributes))
    json_text.dumps([found.input_messages, found.output_messages, found.input, found.output])


def test_names_that_mean_something_elsewhere() -> None:
    """Lost otherwise: messages with such keys, or more."""
    value = {"role": "user", "content": "hi", "__proto__": {"polluted": True}, "constructor": "x"}
    assert content({"input.value": json.dumps([value])}).input_messages == [said("user", "hi")]
    raw = '{"__proto__": {"polluted": true}}'
    assert content({"input.value": raw}).input_messages == [said("user", {**text(raw), "parsed": False})]


def test_lone_surrogates_and_nul() -> None:
    """Lost otherwise: texts that were cut in the middle of an emoji."""
    found = content({"gen_ai.input.messages": '[{"role": "user", "content": "a\\ud83d\\u0000b"}]'})
    assert found.input_messages == [said("user", "a\ud83d\0b")]
    assert json_text.dumps(found.input_messages)
