"""If these fail, what a program does oddly with its tracer ends the program, or fills its memory."""

from __future__ import annotations

from typing import Any

import pytest

from agenttrace import AgentTrace
from tests.unit.sdk.receiver import Receiver, attributes


class _Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("never")


class _HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("never")


_ODD: dict[str, Any] = {
    "none": None, "number": 42, "long": 1 << 20_000, "bytes": b"raw", "list": [1, [2]], "mapping": {"a": {1}},
    "hostile": _Hostile(), "error": _HostileError(), "nan": float("nan"), "surrogate": "lone \ud800 half",
}  # fmt: skip


@pytest.mark.parametrize("kind", _ODD)
def test_no_method_of_a_span_raises(tracer: AgentTrace, receiver: Receiver, kind: str) -> None:
    odd = _ODD[kind]
    with tracer.session(odd, user=odd, tags=[odd], metadata={"m": odd}), tracer.span(odd, odd, input=odd) as span:
        span.set_output(odd)
        span.set_attribute(odd, odd)
        span.set_attributes({odd if isinstance(odd, str) else "a": [odd]})
        span.add_event(odd, {"a": odd})
        span.set_model(odd, odd)
        span.set_prompt(odd, odd)
        span.set_usage(odd, odd)
        span.set_error(odd)
        span.score(odd, odd, label=odd, explanation=odd)
        span.score("x", 1.0, label=odd, explanation=odd)
    assert tracer.flush(5)
    assert receiver.spans


def test_attributes_that_are_none_cost_the_span_and_not_the_call(tracer: AgentTrace) -> None:
    @tracer.trace_tool(attributes=["no", "mapping"])
    def tool() -> int:
        return 5

    assert tool() == 5


def test_ids_that_are_numbers_are_text(tracer: AgentTrace, receiver: Receiver) -> None:
    with tracer.session(7, user=42), tracer.span("a"):  # type: ignore[arg-type]
        pass
    assert tracer.flush(5)
    found = attributes(receiver.spans[0])
    assert (found["session.id"], found["user.id"]) == ("7", "42")


def test_long_texts_are_cut_wherever_they_are(receiver: Receiver) -> None:
    tracer = AgentTrace(receiver.url, live="none", interval_s=60, max_content_chars=10_000)
    long = "x" * 1_000_000
    with pytest.raises(ValueError, match="x"), tracer.span(long) as span:  # noqa: PT012
        span.set_attributes({"text": long, "texts": [long] * 5})
        span.score("helpful", 1, explanation=long)
        raise ValueError(long)
    tracer.shutdown(5)
    (span_sent,) = receiver.spans
    assert len(span_sent.SerializeToString()) < 300_000
    assert len(receiver.records[0].SerializeToString()) < 150_000
    assert attributes(span_sent.events[0])["exception.stacktrace"].endswith("x\n")


def test_texts_in_lists_count_for_what_may_wait(receiver: Receiver) -> None:
    tracer = AgentTrace(receiver.url, live="none", interval_s=60, max_queue_bytes=100_000)
    for _ in range(10):
        with tracer.span("a") as span:
            span.set_attribute("texts", ["x" * 10_000] * 5)
    tracer.shutdown(5)
    assert len(receiver.spans) == 1


def test_scores_go_through_the_hook_that_takes_secrets_out(receiver: Receiver) -> None:
    tracer = AgentTrace(receiver.url, live="none", redact=lambda _, text: text.replace("hunter2", "***"))
    with tracer.span("a") as span:
        span.score("helpful", 1, label="hunter2", explanation="it said hunter2")
        span.otel.set_attribute("nested", {"a": ["hunter2"]})
    tracer.shutdown(5)
    assert receiver.records
    assert not any(b"hunter2" in body for *_, body in receiver.requests)
