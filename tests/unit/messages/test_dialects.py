"""The messages of each dialect, from fixtures in its own form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.messages.spans import answer, call, content, said, text

ASKED, ANSWERED = [said("user", "Where is it?")], [said("assistant", "In Leeds.")]
CALLED = [said("assistant", call("c1", "track", {"id": 7}))]
USER, BOT = {"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "In Leeds."}
OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"id": 7}'}}


def dumped(value: Any) -> str:
    return json.dumps(value)


SPANS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "otel": (
        {"gen_ai.input.messages": dumped(ASKED), "gen_ai.output.messages": dumped(ANSWERED)}, ASKED, ANSWERED,
    ),
    "otel structured": ({"gen_ai.input.messages": ASKED, "gen_ai.output.messages": CALLED}, ASKED, CALLED),
    "otel with content beside the role": ({"gen_ai.input.messages": dumped([USER])}, ASKED, None),
    "gen_ai.prompt, numbered": (
        {
            "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Where is it?",
            "gen_ai.prompt.10.role": "tool", "gen_ai.prompt.10.content": "Leeds", "gen_ai.prompt.10.tool_call_id": "c1",
            "gen_ai.prompt.2.role": "assistant", "gen_ai.prompt.2.tool_calls.0.id": "c1",
            "gen_ai.prompt.2.tool_calls.0.name": "track", "gen_ai.prompt.2.tool_calls.0.arguments": '{"id": 7}',
            "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "In Leeds.",
            "gen_ai.completion.0.finish_reason": "stop",
        },
        [*ASKED, *CALLED, said("tool", answer("c1", "track", "Leeds"))],
        [{**ANSWERED[0], "finish_reason": "stop"}],
    ),
    "gen_ai.prompt, plain": ({"gen_ai.prompt": "Where is it?", "gen_ai.completion": "In Leeds."}, ASKED, ANSWERED),
    "openinference, numbered": (
        {
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.contents.0.message_content.type": "text",
            "llm.input_messages.0.message.contents.0.message_content.text": "Where is it?",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "track",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"id": 7}',
            "input.value": "{}",
        },
        ASKED, CALLED,
    ),
    "openinference, dotted keys in JSON": (
        {"llm.input_messages": dumped([{"message.role": "user", "message.content": "Where is it?"}])}, ASKED, None,
    ),
    "openinference, values": (
        {"input.value": "Where is it?", "output.value": dumped({"choices": [{"message": BOT}]})}, ASKED, ANSWERED,
    ),
    "traceloop": (
        {"traceloop.entity.input": dumped({"inputs": {"messages": [USER]}, "tags": []}),
         "traceloop.entity.output": dumped({"outputs": {"text": "In Leeds."}, "kwargs": {"tags": []}})},
        ASKED, ANSWERED,
    ),
    "traceloop, LangChain's pairs": (
        {"traceloop.entity.input": dumped({"inputs": {"messages": [["user", "Where is it?"]]}})}, ASKED, None,
    ),
    "traceloop, a prompt without a role": ({"gen_ai.prompt.0.user": "Where is it?"}, ASKED, None),
    "LangGraph's command": (
        {"output.value": dumped([{"graph": None, "update": {"messages": [BOT]}}])}, None, ANSWERED,
    ),
    "logfire, a response among the events": (
        {"events": dumped([{"event.name": "gen_ai.user.message", **USER},
                           {"event.name": "gen_ai.unknown", "role": "assistant", "content": "See JSON"},
                           {"event.name": "gen_ai.assistant.message", **BOT}])},
        ASKED, ANSWERED,
    ),
    "a thought that is a list in a text": (
        {"gen_ai.output.messages": dumped([{"role": "assistant", "parts": [
            {"type": "reasoning", "content": dumped([{"type": "summary_text", "text": "Hm."}])}, "In Leeds."]}])},
        None, [said("assistant", {"type": "reasoning", "content": "Hm."}, "In Leeds.")],
    ),
    "langfuse": (
        {"langfuse.observation.input": dumped([USER]), "langfuse.observation.output": dumped(BOT)}, ASKED, ANSWERED,
    ),
    "logfire": (
        {"request_data": dumped({"messages": [USER], "model": "gpt-4o"}),
         "response_data": dumped({"message": BOT, "usage": {}})},
        ASKED, ANSWERED,
    ),
    "logfire events": (
        {"events": dumped([
            {"event.name": "gen_ai.user.message", **USER},
            {"event.name": "gen_ai.choice", "index": 0, "message": BOT},
        ])},
        ASKED, ANSWERED,
    ),
    "pydantic-ai, a run": ({"pydantic_ai.all_messages": dumped([*ASKED, *ANSWERED])}, ASKED, ANSWERED),
    "pydantic-ai, a run of old": (
        {"all_messages_events": dumped([{"event.name": "gen_ai.user.message", **USER}, BOT]),
         "final_result": '{"city": "Leeds"}'},
        ASKED, ANSWERED,
    ),
    "vercel": (
        {"ai.operationId": "ai.generateText", "ai.prompt": dumped({"system": "Be brief.", "prompt": "Where is it?"}),
         "ai.response.text": "In Leeds.",
         "ai.response.toolCalls": dumped([{"toolCallId": "c1", "toolName": "track", "args": '{"id": 7}'}])},
        ASKED, [said("assistant", "In Leeds.", CALLED[0]["parts"][0])],
    ),
    "vercel, the model's own call": (
        {"ai.prompt.messages": dumped([
            {"role": "user", "content": [{"type": "text", "text": "Where is it?"}]},
            {"role": "assistant", "content": [
                {"type": "tool-call", "toolCallId": "c1", "toolName": "track", "input": {"id": 7}}]},
            {"role": "tool", "content": [
                {"type": "tool-result", "toolCallId": "c1", "toolName": "track",
                 "output": {"type": "text", "value": "Leeds"}}]},
        ]), "ai.response.object": '{"city": "Leeds"}'},
        [*ASKED, *CALLED, said("tool", answer("c1", "track", {"type": "text", "value": "Leeds"}))],
        [said("assistant", '{"city": "Leeds"}')],
    ),
    "google adk": (
        {"gcp.vertex.agent.llm_request": dumped({"config": {"system_instruction": "Be brief."},
                                                 "contents": [{"role": "user", "parts": [{"text": "Where is it?"}]}]}),
         "gcp.vertex.agent.llm_response": dumped({"content": {"role": "model", "parts": [
             {"function_call": {"id": "c1", "name": "track", "args": {"id": 7}}}]}})},
        ASKED, CALLED,
    ),
    "openai responses": (
        {"input.value": dumped({"model": "gpt-5", "instructions": "Be brief.", "input": [
            USER, {"type": "function_call", "id": "fc", "call_id": "c1", "name": "track", "arguments": '{"id": 7}'},
            {"type": "function_call_output", "call_id": "c1", "output": "Leeds"}]}),
         "output.value": dumped({"output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Easy."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "In Leeds."}]}]})},
        [*ASKED, *CALLED, said("tool", answer("c1", "track", "Leeds"))],
        [said("assistant", {"type": "reasoning", "content": "Easy."}, "In Leeds.")],
    ),
    "anthropic": (
        {"input.value": dumped({"system": "Be brief.", "messages": [
            USER,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "track", "input": {"id": 7}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1",
                                          "content": [{"type": "text", "text": "Leeds"}]}]}]}),
         "output.value": dumped({"type": "message", "role": "assistant", "stop_reason": "end_turn", "content": [
            {"type": "thinking", "thinking": "Easy.", "signature": "x"}, {"type": "text", "text": "In Leeds."}]})},
        [*ASKED, *CALLED, said("user", answer("c1", "track", "Leeds"))],
        [{**said("assistant", {"type": "reasoning", "content": "Easy."}, "In Leeds."), "finish_reason": "end_turn"}],
    ),
    "gemini": (
        {"input.value": dumped({"contents": [
            {"role": "user", "parts": [{"text": "Where is it?"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "track", "args": {"id": 7}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "track", "response": {"at": "Leeds"}}}]}]}),
         "output.value": dumped({"candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "Easy.", "thought": True}, {"text": "In Leeds."}]}}]})},
        [*ASKED, said("assistant", call("#1", "track", {"id": 7})),
         said("user", answer("#1", "track", {"at": "Leeds"}))],
        [{**said("assistant", {"type": "reasoning", "content": "Easy."}, "In Leeds."), "finish_reason": "stop"}],
    ),
    "langchain": (
        {"input.value": dumped({"messages": [[{"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"],
                                               "kwargs": {"content": "Where is it?", "type": "human"}}]]}),
         "output.value": dumped({"generations": [[{"text": "In Leeds.", "message": {
             "lc": 1, "type": "constructor", "id": ["langchain", "AIMessage"],
             "kwargs": {"content": "In Leeds.",
                        "tool_calls": [{"name": "track", "args": {"id": 7}, "id": "c1"}]}}}]]})},
        ASKED, [said("assistant", "In Leeds.", CALLED[0]["parts"][0])],
    ),
    "langchain, flat": (
        {"input.value": dumped({"messages": [{"type": "human", "content": "Where is it?"}]}),
         "output.value": dumped({"messages": [{"type": "ai", "content": "In Leeds."}]})},
        ASKED, ANSWERED,
    ),
    "a python repr": (
        {"input.value": "[{'role': 'user', 'content': 'Where is it?'}]",
         "output.value": dumped({"messages": ["content='In Leeds.' additional_kwargs={}"]})},
        ASKED, ANSWERED,
    ),
    "bedrock": (
        {"input.value": dumped({"messages": [{"role": "user", "content": [{"text": "Where is it?"}]}]}),
         "output.value": dumped({"output": {"message": {"role": "assistant", "content": [
             {"toolUse": {"toolUseId": "c1", "name": "track", "input": {"id": 7}}}]}}})},
        ASKED, CALLED,
    ),
    "openai chat, with tools": (
        {"input.value": dumped({"messages": [USER]}),
         "output.value": dumped({"choices": [{"finish_reason": "tool_calls", "message": {
             "role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]}}]})},
        ASKED, [{**CALLED[0], "finish_reason": "tool_calls"}],
    ),
    "genkit": (
        {"genkit:input": dumped({"messages": [{"role": "user", "content": [{"text": "Where is it?"}]}]}),
         "genkit:output": dumped({"finishReason": "stop",
                                  "message": {"role": "model", "content": [{"text": {"at": 7}}]}})},
        ASKED, [{**said("assistant", '{"at":7}'), "finish_reason": "stop"}],
    ),
    "livekit": (
        {"lk.chat_ctx": dumped({"items": [{"type": "message", "role": "user", "content": ["Where is it?"]}]}),
         "lk.response.text": "In Leeds."},
        ASKED, ANSWERED,
    ),
    "content without a number": (
        {"gen_ai.prompt.content": "Where is it?", "gen_ai.completion.content": "In Leeds."}, ASKED, ANSWERED,
    ),
    "laminar": ({"lmnr.span.input": dumped([USER]), "lmnr.span.output": dumped("In Leeds.")}, ASKED, ANSWERED),
}  # fmt: skip


@pytest.mark.parametrize("dialect", SPANS)
def test_messages_of_a_dialect(dialect: str) -> None:
    """Lost otherwise: what was said, in spans of that dialect."""
    attributes, given, gave = SPANS[dialect]
    found = content(attributes)
    assert found.input_messages == given
    assert found.output_messages == gave


def test_events_of_a_span() -> None:
    """Lost otherwise: the content of instrumentations that put it into events."""
    events: list[dict[str, Any]] = [
        {"name": "gen_ai.system.message", "content": "Be brief."},
        {"name": "gen_ai.user.message", "gen_ai.event.content": dumped(USER)},
        {"name": "gen_ai.assistant.message", "tool_calls": dumped([OPENAI_CALL])},
        {"name": "gen_ai.tool.message", "content": "Leeds", "id": "c1"},
        {"name": "exception", "exception.message": "no"},
        {"name": "gen_ai.choice", "index": 0, "finish_reason": "stop", "message": dumped(BOT)},
    ]
    found = content({}, events=events)
    tool = said("tool", answer("c1", "track", "Leeds"))
    assert found.input_messages == [said("system", "Be brief."), *ASKED, *CALLED, tool]
    assert found.output_messages == [{**ANSWERED[0], "finish_reason": "stop"}]


def test_details_in_a_log_record() -> None:
    """Lost otherwise: the content of instrumentations that send it as log records."""
    from agenttrace_core.messages.content import span_content
    from tests.unit.messages.spans import any_value, pairs, span

    told = pairs({"gen_ai.input.messages": ASKED, "gen_ai.output.messages": dumped(ANSWERED)})
    details = {"eventName": "gen_ai.client.inference.operation.details", "attributes": told}
    found = span_content(span({"gen_ai.operation.name": "chat"}), events=[details])
    assert (found.input_messages, found.output_messages) == (ASKED, ANSWERED)
    choice = {"eventName": "gen_ai.choice", "body": any_value({"index": 0, "message": BOT})}
    assert span_content(span({}), events=[choice]).output_messages == ANSWERED


def test_system_instructions_and_tool_definitions() -> None:
    """Lost otherwise: half of a prompt."""
    tool = {"type": "function", "name": "track", "description": "Track it", "parameters": {"type": "object"}}
    found = content(
        {"gen_ai.system_instructions": dumped([text("Be brief.")]), "gen_ai.tool.definitions": dumped([tool])}
    )
    assert (found.system_instructions, found.tool_definitions) == ([text("Be brief.")], [tool])
    openai = {"type": "function", "function": {key: tool[key] for key in ("name", "description", "parameters")}}
    anthropic = {"name": "track", "description": "Track it", "input_schema": {"type": "object"}}
    for attributes in (
        {"llm.tools.0.tool.json_schema": dumped(openai)},
        {"ai.prompt.tools": [dumped(anthropic)]},
        {"llm.request.functions.0.name": "track", "llm.request.functions.0.description": "Track it",
         "llm.request.functions.0.parameters": '{"type": "object"}'},
        {"input.value": dumped({"messages": [USER], "tools": [openai]})},
        {"model_request_parameters": dumped({"function_tools": [
            {"name": "track", "description": "Track it", "parameters_json_schema": {"type": "object"}}]})},
    ):  # fmt: skip
        assert content(attributes).tool_definitions == [tool], attributes
    assert content({"input.value": dumped({"messages": [USER], "system": "Be brief."})}).system_instructions == [
        text("Be brief.")
    ]


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "track", "gen_ai.tool.call.id": "c1",
         "gen_ai.tool.call.arguments": '{"id": 7}', "gen_ai.tool.call.result": "Leeds"},
        {"openinference.span.kind": "TOOL", "tool.name": "track", "tool.id": "c1", "input.value": '{"id": 7}',
         "output.value": "Leeds"},
        {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "track", "ai.toolCall.id": "c1",
         "ai.toolCall.args": '{"id": 7}', "ai.toolCall.result": '"Leeds"'},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "track", "gen_ai.tool.call.id": "c1",
         "tool_arguments": {"id": 7}, "tool_response": "Leeds"},
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "track", "tool.id": "c1",
         "traceloop.entity.input": '{"id": 7}', "traceloop.entity.output": "Leeds"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "track",
         "gen_ai.task.input": dumped({"input_str": "{'id': 7}", "inputs": {"id": 7}, "tags": []}),
         "gen_ai.task.output": dumped({"output": {"lc": 1, "type": "constructor", "id": ["ToolMessage"], "kwargs": {
             "content": "Leeds", "type": "tool", "name": "track", "tool_call_id": "c1"}}, "kwargs": {}}),
         "gen_ai.tool.call.id": "c1"},
        {"openinference.span.kind": "TOOL", "tool.name": "track", "tool.id": "c1", "input.value": '{"id": 7}',
         "output.value": dumped({"type": "tool", "data": {"content": "Leeds", "type": "tool", "tool_call_id": "c1"}})},
    ],
)  # fmt: skip
def test_a_tool_span_is_a_call_and_its_answer(attributes: dict[str, Any]) -> None:
    """Lost otherwise: arguments and results of tools, which look like anything."""
    found = content(attributes)
    assert found.input_messages == CALLED
    assert found.output_messages == [said("tool", answer("c1", "track", "Leeds"))]
    assert (found.input, found.output) == ({"id": 7}, "Leeds")


def test_a_tool_span_may_tell_its_call_in_events() -> None:
    """Lost otherwise: the tools of Strands."""
    events = [
        {"name": "gen_ai.tool.message", "content": '{"id": 7}', "role": "tool", "id": "c1"},
        {"name": "gen_ai.choice", "message": dumped([{"text": "Leeds"}]), "id": "c1"},
    ]
    found = content({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "track"}, events=events)
    assert found.input_messages == CALLED
    assert found.output_messages == [said("tool", answer("c1", "track", "Leeds"))]


def test_blocks_of_bedrock_in_events_are_parts() -> None:
    """Lost otherwise: what is said to Strands' agents, and the tools that they call."""
    use = {"toolUse": {"toolUseId": "c1", "name": "track", "input": {"id": 7}}}
    found = content({}, events=[
        {"name": "gen_ai.user.message", "content": dumped([{"text": "Where is it?"}])},
        {"name": "gen_ai.choice", "message": dumped([use])},
    ])  # fmt: skip
    assert (found.input_messages, found.output_messages) == (ASKED, CALLED)


def test_a_call_without_arguments_is_one() -> None:
    """Lost otherwise: tools that take nothing."""
    found = content(
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "now", "gen_ai.tool.call.arguments": "{}"}
    )
    assert found.input_messages == [said("assistant", call("#1", "now", {}))]


def test_documents_and_embeddings() -> None:
    """Lost otherwise: what was retrieved, and of what vectors were made."""
    found = content({
        "input.value": "leeds?", "retrieval.documents.0.document.id": "d1",
        "retrieval.documents.0.document.content": "Leeds is",
        "retrieval.documents.0.document.score": 0.5, "retrieval.documents.0.document.metadata": '{"page": 3}',
    })  # fmt: skip
    document = {"type": "document", "id": "d1", "content": "Leeds is", "score": 0.5, "metadata": {"page": 3}}
    assert (found.input_messages, found.output_messages) == ([said("user", "leeds?")], [said("tool", document)])
    found = content(
        {
            "gen_ai.operation.name": "vector_db_retrieve",
            "gen_ai.task.output": dumped({"documents": [{"page_content": "Leeds is", "metadata": {}}]}),
        }
    )
    assert found.output_messages == [said("tool", {"type": "document", "content": "Leeds is", "metadata": {}})]
    found = content({
        "embedding.embeddings.0.embedding.text": "a", "embedding.embeddings.0.embedding.vector": [0.1, 0.2],
        "embedding.embeddings.1.embedding.text": "b", "embedding.embeddings.1.embedding.vector": [0.1, 0.3],
    })  # fmt: skip
    assert found.input_messages == [said("user", "a", "b")]
    assert found.output_messages == [said("assistant", *[{"type": "embedding", "dimensions": 2}] * 2)]


def test_results_without_ids_go_to_their_calls_by_name_and_order() -> None:
    """Lost otherwise: which of two results is whose, where a provider gives no ids."""
    messages = [
        said("assistant", call(None, "a", 1), call(None, "b", 2), call(None, "a", 3)),
        said("tool", {"type": "tool_call_response", "name": "a", "response": "first"}),
        said("tool", {"type": "tool_call_response", "response": "second"}),
        said("tool", {"type": "tool_call_response", "name": "a", "response": "third"}),
        said("tool", {"type": "tool_call_response", "name": "a", "response": "nobody's"}),
    ]
    found = content({"gen_ai.input.messages": dumped(messages)}).input_messages
    assert found is not None
    assert [(p["id"], p["name"]) for p in found[0]["parts"]] == [("#1", "a"), ("#2", "b"), ("#3", "a")]
    assert [m["parts"][0].get("id") for m in found[1:]] == ["#1", "#2", "#3", None]


def test_what_does_not_parse_is_shown_as_it_came() -> None:
    """Lost otherwise: everything that no dialect explains."""
    for raw in ('{"topic":  "AI"}', "[1, 2", '{"a": "\\ud800"}', "[[[[", '{"messages": []}'):
        found = content({"input.value": raw})
        if raw in {"[1, 2", "[[[["}:  # no JSON at all is text
            assert found.input_messages == [said("user", raw)]
        else:
            assert found.input_messages == [said("user", {**text(raw), "parsed": False})]
            assert found.input == json.loads(raw)


def test_a_span_that_says_nothing_has_no_messages() -> None:
    """Lost otherwise: the difference between silence and an empty message."""
    found = content({"http.method": "GET", "input.value": "", "output.value": "{}"})
    assert (found.input_messages, found.output_messages, found.system_instructions, found.tool_definitions) == (
        None,
    ) * 4
