"""If these fail, what a crew did is not on record, or its calls of models are there twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.sdk.program import run
from tests.integration.sdk.provider import completion, providing
from tests.unit.sdk.receiver import Receiver

_CREW = """
from agenttrace import init
tracer = init(auto_instrument={names})
from crewai import Agent, Task, Crew, LLM
from crewai.tools import tool
@tool("find")
def find(q: str) -> str:
    "Find something."
    {tool}
model = LLM(model="openai/gpt-4o-mini", base_url=URL, api_key="key")
scout = Agent(role="Scout", goal="find", backstory="b", llm=model, tools=[find])
task = Task(description="Find {{x}}", expected_output="it", agent=scout)
crew = Crew(name="expedition", agents=[scout], tasks=[task])
"""


@pytest.mark.parametrize("names", ['["crewai"]', '["crewai", "openai"]', "True"])
def test_a_crew_is_a_tree_in_which_each_call_of_the_model_is_one_span(
    receiver: Receiver, tmp_path: Path, names: str
) -> None:
    code = (
        _CREW.format(names=names, tool='return "found " + q')
        + """
with tracer.session("s1"):
    say(crew.kickoff(inputs={"x": "gold"}).raw)
"""
    )
    with providing(completion(calls=[("find", {"q": "y"})]), completion("Final Answer: gold")) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert "gold" in ran.said[0]
    (root,) = ran.roots
    assert root.shape() == ("expedition", ("Scout", "chat gpt-4o-mini", "find", "chat gpt-4o-mini"))
    (agent,) = ran.spans("invoke_agent")
    assert (agent.attributes["input.value"], agent.attributes["session.id"]) == ("Find gold", "s1")
    first, _ = ran.spans("chat")
    assert (first.attributes["gen_ai.usage.input_tokens"], first.attributes["gen_ai.usage.output_tokens"]) == (11, 5)
    assert (first.attributes["gen_ai.provider.name"], first.attributes["gen_ai.request.model"]) == (
        "openai",
        "gpt-4o-mini",
    )
    (said,) = json.loads(first.attributes["gen_ai.output.messages"])
    assert said["parts"][-1]["name"] == "find"
    (tool,) = ran.spans("execute_tool")
    assert tool.attributes["gen_ai.tool.call.result"] == "found y"


def test_a_tool_that_fails_is_seen_and_the_crew_goes_on(receiver: Receiver, tmp_path: Path) -> None:
    code = (
        _CREW.format(names='["crewai"]', tool='raise ValueError("no map")')
        + """
say(crew.kickoff(inputs={"x": "gold"}).raw)
"""
    )
    with providing(completion(calls=[("find", {"q": "y"})]), completion("Final Answer: lost")) as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert "lost" in ran.said[0]
    (tool,) = ran.spans("execute_tool")
    assert tool.failed
    assert "no map" in tool.message


def test_a_flow_and_its_steps(receiver: Receiver, tmp_path: Path) -> None:
    code = """
from agenttrace import init
tracer = init(auto_instrument=["crewai"])
from crewai.flow.flow import Flow, listen, start
class Trip(Flow):
    @start()
    def pack(self):
        return "bag"
    @listen(pack)
    def go(self, bag):
        with tracer.span("inside"): pass
        return bag + " gone"
say(Trip().kickoff())
"""
    with providing() as provider:
        ran = run(code, receiver, provider, tmp_path)
    assert ran.said == ["bag gone"]
    (root,) = ran.roots
    assert root.shape() == ("Trip", "pack", ("go", "inside"))
