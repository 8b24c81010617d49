"""If these fail, a decorated function behaves otherwise than the plain one, or its span hangs in the wrong place."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace

from agenttrace import AgentTrace
from tests.unit.sdk.receiver import Receiver, attributes


def _sent(tracer: AgentTrace, receiver: Receiver) -> dict[str, Any]:
    assert tracer.flush(5)
    return {span.name: span for span in receiver.spans}


def test_the_snippet_that_users_read_first_runs_as_it_stands(tracer: AgentTrace, receiver: Receiver) -> None:
    @tracer.trace_agent()
    def my_agent(question: str) -> str:
        return asyncio.run(search(question))

    @tracer.trace_tool(name="search")
    async def search(q: str) -> str:
        return f"found {q}"

    assert my_agent("parcel") == "found parcel"
    with tracer.span("plan", operation="chain") as span:
        span.set_input({"a": 1})
        span.set_output([1, 2])
        span.score("helpful", 0.9)
    spans = _sent(tracer, receiver)
    agent, tool, plan = spans["my_agent"], spans["search"], spans["plan"]
    assert tool.parent_span_id == agent.span_id
    assert agent.parent_span_id == plan.parent_span_id == b""
    assert attributes(agent) == {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "my_agent", "input.value": "parcel",
        "output.value": "found parcel",
    }  # fmt: skip
    assert attributes(tool) == {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
        "gen_ai.tool.call.arguments": '{"q":"parcel"}', "gen_ai.tool.call.result": "found parcel",
    }  # fmt: skip
    assert attributes(plan) == {
        "gen_ai.operation.name": "chain", "input.value": '{"a":1}', "output.value": "[1,2]"
    }  # fmt: skip
    (score,) = receiver.records
    assert (score.event_name, score.trace_id, score.span_id) == (
        "gen_ai.evaluation.result",
        plan.trace_id,
        plan.span_id,
    )
    assert attributes(score) == {"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.value": 0.9}


@pytest.mark.parametrize(
    ("decorator", "operation"),
    [
        ("trace_agent", "invoke_agent"), ("trace_workflow", "invoke_workflow"), ("trace_tool", "execute_tool"),
        ("trace_chain", "chain"), ("trace_retriever", "retrieval"), ("trace_llm", "chat"), ("trace", None),
    ],
)  # fmt: skip
def test_each_decorator_says_what_the_function_does(
    tracer: AgentTrace, receiver: Receiver, decorator: str, operation: str | None
) -> None:
    def work(x: int) -> int:
        """Work."""
        return x + 1

    decorated: Callable[[int], int] = getattr(tracer, decorator)()(work)
    assert (decorated(1), decorated.__name__, decorated.__doc__) == (2, "work", "Work.")
    assert inspect.signature(decorated) == inspect.signature(work)
    assert attributes(_sent(tracer, receiver)["work"]).get("gen_ai.operation.name") == operation


def test_a_decorator_without_brackets_is_told_or_works(tracer: AgentTrace) -> None:
    @tracer.trace
    def plain() -> int:
        return 7

    assert plain() == 7
    with pytest.raises(TypeError, match=r"with brackets: @tracer.trace_agent\(\)"):
        tracer.trace_agent(plain)  # type: ignore[arg-type]


def test_methods_keep_their_kind_and_self_is_not_an_input(tracer: AgentTrace, receiver: Receiver) -> None:
    class Agent:
        @tracer.trace_tool()
        def own(self, x: int) -> int:
            return x

        @classmethod
        @tracer.trace_tool()
        def of_class(cls, x: int) -> int:
            return x

        @tracer.trace_tool()
        @staticmethod
        def of_none(x: int) -> int:
            return x

    assert (Agent().own(1), Agent.of_class(2), Agent.of_none(3), Agent().of_none(4)) == (1, 2, 3, 4)
    spans = _sent(tracer, receiver)
    assert attributes(spans["own"])["gen_ai.tool.call.arguments"] == '{"x":1}'
    assert attributes(spans["of_class"])["gen_ai.tool.call.arguments"] == '{"x":2}'


def test_what_a_function_raises_is_recorded_and_goes_on(tracer: AgentTrace, receiver: Receiver) -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @tracer.trace()
    def fails(error: BaseException) -> None:
        raise error

    for error in (ValueError("bad \udc80"), OddError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fails(error)
    assert tracer.flush(5)
    texts = [(attributes(s)["error.type"].rpartition(".")[2], s.status.message) for s in receiver.spans]
    assert texts == [
        ("ValueError", "bad \\udc80"), ("OddError", "(its message cannot be read)"), ("KeyboardInterrupt", "")
    ]  # fmt: skip
    assert all(span.status.code == 2 for span in receiver.spans)


def test_a_generator_hangs_its_children_under_itself_and_leaves_its_caller_alone(
    tracer: AgentTrace, receiver: Receiver
) -> None:
    @tracer.trace_chain()
    def numbers() -> Iterator[int]:
        for n in range(3):
            with tracer.span(f"inner {n}"):
                yield n

    with tracer.span("outer") as outer:
        for n in numbers():
            assert trace.get_current_span() is outer.otel
            with tracer.span(f"between {n}"):
                pass
    spans = _sent(tracer, receiver)
    assert spans["numbers"].parent_span_id == spans["outer"].span_id
    assert {spans[f"inner {n}"].parent_span_id for n in range(3)} == {spans["numbers"].span_id}
    assert {spans[f"between {n}"].parent_span_id for n in range(3)} == {spans["outer"].span_id}
    assert attributes(spans["numbers"])["output.value"] == "[0,1,2]"


def test_a_generator_is_what_it_was(tracer: AgentTrace) -> None:
    def echo() -> Iterator[Any]:
        got: list[Any] = []
        while len(got) < 3:
            try:
                got.append((yield len(got)))
            except KeyError as error:
                got.append(error.args[0])
        return got

    results = []
    for function in (echo, tracer.trace()(echo)):
        generator: Any = function()
        seen = [next(generator), generator.send("a"), generator.throw(KeyError("b"))]
        with pytest.raises(StopIteration) as stop:
            generator.send("c")
        results.append((seen, stop.value.value))
    assert results[0] == results[1] == ([0, 1, 2], ["a", "b", "c"])


@pytest.mark.parametrize("how", ["closed", "dropped", "broken off"])
def test_a_generator_that_is_left_early_ends_its_span(tracer: AgentTrace, receiver: Receiver, how: str) -> None:
    closed = []

    @tracer.trace()
    def words() -> Iterator[str]:
        try:
            yield from ("a", "b", "c")
        finally:
            closed.append(trace.get_current_span().get_span_context().span_id)

    generator: Any = words()
    assert next(generator) == "a"
    if how == "closed":
        generator.close()
    elif how == "broken off":
        for _ in generator:
            break
    del generator
    span = _sent(tracer, receiver)["words"]
    assert attributes(span)["output.value"] == ("ab" if how == "broken off" else "a")
    assert (span.status.code, closed) == (0, [int.from_bytes(span.span_id, "big")])


@pytest.mark.anyio
async def test_an_async_generator_does_the_same(tracer: AgentTrace, receiver: Receiver) -> None:
    @tracer.trace()
    async def words(count: int) -> AsyncIterator[str]:
        for n in range(count):
            with tracer.span(f"inner {n}"):
                await asyncio.sleep(0)
            yield f"w{n}"

    with tracer.span("outer") as outer:
        assert [word async for word in words(2)] == ["w0", "w1"]
        left: Any = words(5)
        assert await anext(left) == "w0"
        await left.aclose()
        assert trace.get_current_span() is outer.otel
    assert tracer.flush(5)
    whole, cut = [s for s in receiver.spans if s.name == "words"]
    assert [attributes(s)["output.value"] for s in (whole, cut)] == ["w0w1", "w0"]
    inner = [s for s in receiver.spans if s.name.startswith("inner")]
    assert {s.parent_span_id for s in inner} == {whole.span_id, cut.span_id}


@pytest.mark.anyio
async def test_tasks_side_by_side_keep_to_their_own_spans(tracer: AgentTrace, receiver: Receiver) -> None:
    @tracer.trace_agent()
    async def agent(name: str) -> str:
        await asyncio.sleep(0.001)
        return await tool(name)

    @tracer.trace_tool()
    async def tool(name: str) -> str:
        await asyncio.sleep(0.001)
        return name

    names = [f"n{i}" for i in range(20)]
    assert await asyncio.gather(*(agent(name) for name in names)) == names
    assert tracer.flush(5)
    agents = {attributes(s)["input.value"]: s for s in receiver.spans if s.name == "agent"}
    for span in (s for s in receiver.spans if s.name == "tool"):
        assert agents[attributes(span)["gen_ai.tool.call.result"]].span_id == span.parent_span_id


def test_nothing_is_captured_where_that_was_asked(receiver: Receiver) -> None:
    tracer = AgentTrace(receiver.url, live="none", capture_content=False)

    @tracer.trace_tool()
    def tool(secret: str) -> str:
        return secret

    tool("hunter2")
    tracer.shutdown(2)
    assert receiver.spans
    assert not any(b"hunter2" in body for _, _, body in receiver.requests)
