"""If these fail, a chain, agent or graph of LangChain's is not on record as it ran."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.sdk.program import run
from tests.integration.sdk.provider import completion, providing, stream
from tests.unit.sdk.receiver import Receiver

_INIT = """
from agenttrace import init
tracer = init(auto_instrument=["langchain", "openai"])
from langchain_openai import ChatOpenAI
from langchain_core.tools import tool
model = ChatOpenAI(model="gpt-4o-mini", base_url=URL, max_retries=0)
@tool
def find(q: str) -> str:
    "Find something."
    return f"found {q}"
"""


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_an_agent_is_a_tree_in_which_each_call_of_the_model_is_one_span(
    receiver: Receiver, tmp_path: Path, way: str
) -> None:
    asked = '{"messages": [("user", "Where?")]}, {"configurable": {"thread_id": "t1"}}'
    call = f"agent.invoke({asked})" if way == "invoke" else f"asyncio.run(agent.ainvoke({asked}))"
    code = (
        _INIT
        + f"""
from langchain.agents import create_agent
agent = create_agent(model, [find], name="scout")
with tracer.span("mine"):
    say({call}["messages"][-1].content)
"""
    )
    with providing(completion(calls=[("find", {"q": "x"})]), completion("There.")) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["There."]
    (root,) = ran.roots
    chat = "chat gpt-4o-mini"
    assert root.shape() == ("mine", ("scout", ("model", chat), ("tools", "find"), ("model", chat)))
    (agent,) = ran.spans("invoke_agent")
    assert agent.attributes["gen_ai.conversation.id"] == "t1"
    (tool,) = ran.spans("execute_tool")
    assert tool.attributes["gen_ai.tool.call.arguments"] == '{"q":"x"}'
    assert (tool.attributes["gen_ai.tool.call.result"], tool.attributes["gen_ai.tool.call.id"]) == (
        "found x",
        "call_find",
    )
    first, second = ran.spans("chat")
    assert (first.attributes["gen_ai.usage.input_tokens"], first.attributes["gen_ai.usage.output_tokens"]) == (11, 5)
    assert first.attributes["gen_ai.provider.name"] == "openai"
    (said,) = json.loads(first.attributes["gen_ai.output.messages"])
    assert said["parts"] == [{"type": "tool_call", "id": "call_find", "name": "find", "arguments": {"q": "x"}}]
    roles = [message["role"] for message in json.loads(second.attributes["gen_ai.input.messages"])]
    assert roles == ["user", "assistant", "tool"]


def test_a_streamed_chain_is_recorded_when_it_ends(receiver: Receiver, tmp_path: Path) -> None:
    code = (
        _INIT
        + """
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.output_parsers import StrOutputParser
chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{q}")]) | model | StrOutputParser()
pieces = []
for piece in chain.stream({"q": "Hi"}):
    pieces.append(piece)
    with tracer.span("between"): pass
say("".join(pieces))
"""
    )
    with providing(stream("Hel", "lo")) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["Hello"]
    (chat,) = ran.spans("chat")
    assert chat.attributes["gen_ai.usage.output_tokens"] == 2
    assert chat.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert json.loads(chat.attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert '"content":"Hello"' in chat.attributes["gen_ai.output.messages"]
    assert "between" in {root.name for root in ran.roots}


def test_a_stream_that_is_let_go_of_has_not_failed(receiver: Receiver, tmp_path: Path) -> None:
    code = (
        _INIT
        + """
pieces = model.stream("Hi")
say(next(piece.content for piece in pieces if piece.content))
pieces.close()
"""
    )
    with providing(stream("Hel", "lo")) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["Hel"]
    (chat,) = ran.spans("chat")
    (said,) = json.loads(chat.attributes["gen_ai.output.messages"])
    assert said["parts"] == [{"type": "text", "content": "Hel"}]
    assert "error.type" not in chat.attributes


def test_a_graph_that_asks_a_person_has_not_failed_and_goes_on(receiver: Receiver, tmp_path: Path) -> None:
    code = (
        _INIT
        + """
from typing import TypedDict
from langgraph.graph import StateGraph, START, END
from langgraph.types import interrupt, Command
from langgraph.checkpoint.memory import InMemorySaver
class State(TypedDict):
    x: str
def ask(state): return {"x": interrupt("really?")}
def fail(state): raise ValueError("broken")
graph = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END)
compiled = graph.compile(checkpointer=InMemorySaver(), name="approval")
config = {"configurable": {"thread_id": "t2"}}
compiled.invoke({"x": "a"}, config)
say(compiled.invoke(Command(resume="yes"), config)["x"])
broken = StateGraph(State).add_node("fail", fail).add_edge(START, "fail").compile(name="broken")
try: broken.invoke({"x": "a"})
except ValueError as error: say(str(error))
"""
    )
    with providing() as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["yes", "broken"]
    assert [root.shape() for root in ran.roots] == [("approval", "ask"), ("approval", "ask"), ("broken", "fail")]
    asked, resumed, broken = ran.roots
    assert (asked.operation, asked.attributes["session.id"]) == ("invoke_workflow", "t2")
    assert [node.failed for node in (asked, asked.children[0], resumed, broken, broken.children[0])] == [
        False, False, False, True, True
    ]  # fmt: skip
    assert asked.children[0].events == ("langgraph.interrupt",)
    assert broken.children[0].message == "broken"


def test_runs_side_by_side_in_threads_keep_apart(receiver: Receiver, tmp_path: Path) -> None:
    code = (
        _INIT
        + """
from langchain_core.runnables import RunnableLambda
inner = RunnableLambda(lambda x: x, name="inner")
outer = RunnableLambda(lambda x: inner.invoke(x), name="outer")
say(outer.batch(list(range(8))))
"""
    )
    with providing() as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == [list(range(8))]
    assert [root.shape() for root in ran.roots] == [("outer", "inner")] * 8
    assert all(root.attributes["input.value"] == root.children[0].attributes["input.value"] for root in ran.roots)
