"""The SDK and the server together: if this fails, what a user's program did is not what comes back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.e2e.running import RunningServer, environment, until
from tests.integration.sdk.provider import completion, providing

_PROGRAM = """
import sys, time
from agenttrace import init
tracer = init(auto_instrument=["openai"], service="shop", environment="production", version="1.2")
import openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="key", max_retries=0)

@tracer.trace_tool()
def track(parcel: str) -> dict:
    raise TimeoutError("the carrier does not answer")

@tracer.trace_agent()
def assistant(question: str) -> str:
    messages = [{"role": "user", "content": question}]
    client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    try:
        track("p7")
    except TimeoutError:
        pass
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content

with tracer.session("s1", user="u1", tags=["beta"], metadata={"plan": "gold"}):
    with tracer.span("request", operation="chain") as span:
        print(assistant("Where is my parcel?"))
        span.score("helpful", 0.25, explanation="no answer")
        print(span.trace_id)
        if len(sys.argv) > 2:
            sys.stdout.flush()
            time.sleep(60)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server for the tests of this module."""
    server = RunningServer(tmp_path_factory.mktemp("sdk") / "data")
    server.start()
    yield server
    server.destroy()


def _command(server: RunningServer, url: str, *more: str) -> tuple[list[str], dict[str, str]]:
    variables = environment(AGENTTRACE_ENDPOINT=server.endpoints()["otlp_http"])
    return [sys.executable, "-c", _PROGRAM, url, *more], variables


def _trace(server: RunningServer, trace_id: str) -> dict[str, Any] | None:
    answer = httpx.get(f"{server.endpoints()['api']}/api/v1/traces/{trace_id}", timeout=30)
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == 200 else None


def test_what_a_program_did_comes_back(server: RunningServer) -> None:
    with providing(completion("Looking."), completion("I cannot tell.")) as provider:
        command, variables = _command(server, provider.url)
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=True)
    answer, trace_id = done.stdout.split("\n")[:2]
    assert answer == "I cannot tell."
    trace = until(lambda: (t := _trace(server, trace_id)) and len(t["spans"]) == 5 and t)
    by_name = {span["name"]: span for span in trace["spans"]}
    assert {span["service"] for span in trace["spans"]} == {"shop"}
    root, agent, tool = by_name["request"], by_name["assistant"], by_name["track"]
    assert (agent["parent_span_id"], tool["parent_span_id"]) == (root["span_id"], agent["span_id"])
    chats = [span for span in trace["spans"] if span["operation"] == "chat"]
    assert [(c["input_tokens"], c["output_tokens"], c["model"]) for c in chats] == [
        (11, 5, "gpt-4o-mini-2024-07-18")
    ] * 2
    assert all(Decimal(chat["cost_usd"]) > 0 for chat in chats)
    assert (tool["status"], tool["error_type"], tool["tool"]) == ("error", "TimeoutError", "track")
    assert (agent["input_preview"], agent["output_preview"]) == ("Where is my parcel?", "I cannot tell.")
    assert (root["session_id"], root["user_id"], root["tags"]) == ("s1", "u1", ["beta"])
    assert (root["environment"], root["version"]) == ("production", "1.2")
    summary = trace["summary"]
    assert (summary["input_tokens"], summary["output_tokens"], summary["errors"]) == (22, 10, 1)
    assert Decimal(summary["cost_usd"]) == sum(Decimal(chat["cost_usd"]) for chat in chats)
    scores = until(lambda: server.get("/api/v1/scores", trace_id=trace_id)["items"])
    assert [(score["name"], score["value"]) for score in scores] == [("helpful", 0.25)]


def test_a_program_that_is_killed_leaves_its_running_work_on_record(server: RunningServer) -> None:
    with providing(completion("Looking.")) as provider:
        command, variables = _command(server, provider.url, "and wait")
        process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        trace_id = process.stdout.readline().strip()
        try:
            trace = until(
                lambda: (t := _trace(server, trace_id)) and any(s["name"] == "request" for s in t["spans"]) and t
            )
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    (root,) = [span for span in trace["spans"] if span["name"] == "request"]
    assert "running" in root["quality"]
    assert root["duration_ns"] is None
    assert trace["summary"]["state"] == "running"
