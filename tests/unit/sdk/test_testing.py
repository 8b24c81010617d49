"""If these fail, users cannot test what their programs record."""

from __future__ import annotations

import pytest

from agenttrace import AgentTrace, shutdown
from agenttrace.testing import Recorded, capture, recorded_spans  # noqa: F401 - a fixture


@pytest.fixture(scope="module", autouse=True)
def _ended() -> object:
    yield
    shutdown(timeout_s=0.1)


def test_what_was_recorded_can_be_asked(recorded_spans: Recorded) -> None:  # noqa: F811 - the fixture
    tracer = AgentTrace()

    @tracer.trace_tool()
    def find(q: str) -> dict[str, str]:
        if q == "nothing":
            raise LookupError("not there")
        return {"found": q}

    with tracer.span("outer", "chain"):
        find("x")
        with pytest.raises(LookupError):
            find("nothing")
    (outer,) = recorded_spans.children()
    found, failed = recorded_spans.children(outer)
    assert (found.operation, found.input, found.output, found.error) == (
        "execute_tool",
        {"q": "x"},
        {"found": "x"},
        None,
    )
    assert failed.error == "not there"
    with pytest.raises(LookupError, match="2 spans are named 'find'; recorded were 'find', 'find', 'outer'"):
        recorded_spans.named("find")
    recorded_spans.clear()
    assert len(recorded_spans) == 0


def test_captures_nest_and_end_and_nothing_is_sent_meanwhile() -> None:
    tracer = AgentTrace()
    with capture() as outer:
        with capture() as inner, tracer.span("a") as span:
            span.score("helpful", 1)
        with tracer.span("b"):
            pass
    assert [span.name for span in inner] == ["a"]
    assert [span.name for span in outer] == ["a", "b"]
