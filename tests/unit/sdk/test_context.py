"""If these fail, spans lose the session, user or tags that they belong to."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import propagate
from opentelemetry.context import attach, detach

from agenttrace import AgentTrace
from tests.unit.sdk.receiver import Receiver, attributes


def test_sessions_nest_and_reach_every_span_within(tracer: AgentTrace, receiver: Receiver) -> None:
    foreign = tracer.provider.get_tracer("somebody's instrumentation")
    with tracer.session("s1", user="u1", tags=["a"], metadata={"plan": "gold", "limits": [1]}):
        with tracer.span("outer"), foreign.start_as_current_span("foreign"):
            pass
        with tracer.session(user="u2", tags=["b"]), tracer.span("inner"):
            pass
    with tracer.span("after"):
        pass
    assert tracer.flush(5)
    spans = {span.name: attributes(span) for span in receiver.spans}
    carried = {
        "session.id": "s1", "gen_ai.conversation.id": "s1", "user.id": "u1", "agenttrace.tags": ["a"],
        "agenttrace.metadata.plan": "gold", "agenttrace.metadata.limits": "[1]",
    }  # fmt: skip
    assert spans["outer"] == spans["foreign"] == carried
    assert spans["inner"] == carried | {"user.id": "u2", "agenttrace.tags": ["a", "b"]}
    assert spans["after"] == {}


def test_a_session_goes_with_tasks_and_with_copied_contexts(tracer: AgentTrace, receiver: Receiver) -> None:
    def work() -> None:
        with tracer.span("work"):
            pass

    async def main() -> None:
        async with tracer.session("s1"):
            await asyncio.gather(asyncio.to_thread(work), asyncio.to_thread(work))

    asyncio.run(main())
    with tracer.session("s2"), ThreadPoolExecutor() as pool:
        pool.submit(contextvars.copy_context().run, work).result()
    assert tracer.flush(5)
    assert [attributes(span)["session.id"] for span in receiver.spans] == ["s1", "s1", "s2"]


def test_it_crosses_to_another_service_only_if_asked(receiver: Receiver) -> None:
    for propagates in (False, True):
        caller = AgentTrace(receiver.url, live="none", propagate=propagates)
        headers: dict[str, str] = {}
        with (
            caller.session(
                "s 1", user="ü", tags=["a", "b"], metadata={"plan": "gold; 1,5", "big": "x" * 300, "no key": 1}
            ),
            caller.span("caller"),
        ):
            propagate.inject(headers)
        token = attach(propagate.extract(headers))
        with caller.span("callee"):
            pass
        detach(token)
        caller.shutdown(2)
        caller_span, callee = receiver.spans[-2:]
        assert callee.trace_id == caller_span.trace_id
        carried = {
            "session.id": "s 1", "gen_ai.conversation.id": "s 1", "user.id": "ü", "agenttrace.tags": ["a", "b"],
            "agenttrace.metadata.plan": "gold; 1,5",
        }  # fmt: skip
        assert attributes(callee) == (carried if propagates else {})
