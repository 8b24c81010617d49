"""Log events, scores and costs in a whole server, by the SDK's own exporters, and under kill -9."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.e2e.running import RunningServer, until

EVENTS = [
    ("gen_ai.user.message", {}, {"content": "Where is my parcel?"}),
    ("gen_ai.choice", {}, {"index": 0, "message": {"role": "assistant", "content": "In Leeds."}}),
    ("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.value": 0.25}, None),
]


def converse(server: RunningServer, exporter: LogRecordExporter, model: str) -> tuple[str, str]:
    """Send a chat whose content and evaluation come as log events, and return its trace and span id."""
    resource = Resource({"service.name": "shop"})
    provider, logs = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    exporting = OTLPSpanExporter(f"{server.endpoints()['otlp_http']}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporting))
    logs.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    said: dict[str, Any] = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
    }  # fmt: skip
    with provider.get_tracer("agent").start_as_current_span("chat", attributes=said) as span:
        for name, attributes, body in EVENTS:
            context = trace.set_span_in_context(span)
            record = LogRecord(
                timestamp=time.time_ns(), context=context, event_name=name, attributes=attributes, body=body
            )
            logs.get_logger("judge").emit(record)
    provider.shutdown()
    logs.shutdown()
    found = span.get_span_context()
    return f"{found.trace_id:032x}", f"{found.span_id:016x}"


@pytest.fixture
def priced_server(stopped_server: RunningServer) -> Iterator[RunningServer]:
    """A server with a price of its own."""
    own = json.dumps([{"model": "in-house-*", "input": 10, "output": 100}])
    server = RunningServer(stopped_server.folder, AGENTTRACE_PRICES__OWN=own)
    server.start()
    yield server
    server.destroy()


def test_what_the_sdk_sends_beside_a_span_is_joined_to_it(priced_server: RunningServer) -> None:
    """Lost: what was said in a call, how it was judged, and what it cost, of everybody who uses OpenTelemetry alone."""
    server = priced_server
    doors = server.endpoints()
    exporters = {
        "gpt-4o": HttpLogExporter(f"{doors['otlp_http']}/v1/logs"),
        "in-house-7b": GrpcLogExporter(doors["otlp_grpc"], insecure=True),
        "nobody-knows": HttpLogExporter(f"{doors['otlp_http']}/v1/logs"),
    }
    costs = {"gpt-4o": "0.003500000000", "in-house-7b": "0.020000000000", "nobody-knows": None}
    for model, exporter in exporters.items():
        trace_id, span_id = converse(server, exporter, model)
        path = f"/api/v1/traces/{trace_id}/spans/{span_id}"
        until(lambda path=path: _complete(server, path), 10)  # type: ignore[misc]
        span = server.get(path)
        assert span["cost_usd"] == costs[model]
        assert span["input_messages"][0]["parts"][0]["content"] == "Where is my parcel?"
        assert span["output_messages"][0]["parts"][0]["content"] == "In Leeds."
        assert [event["name"] for event in span["log_events"]] == ["gen_ai.user.message", "gen_ai.choice"]
        (score,) = span["scores"]
        assert (score["name"], score["value"], score["source"]) == ("helpful", 0.25, "judge")
    summaries = {t["trace_id"]: t for t in server.traces()}
    assert {(t["cost_usd"], t["unpriced"]) for t in summaries.values()} == {
        (None, 1), ("0.003500000000", 0), ("0.020000000000", 0),
    }  # fmt: skip


def _complete(server: RunningServer, path: str) -> bool:
    answer = httpx.get(server.endpoints()["api"] + path, timeout=30)
    return answer.status_code == 200 and len(answer.json()["log_events"]) == 2 and len(answer.json()["scores"]) == 1


def test_a_score_is_given_on_the_command_line(server: RunningServer) -> None:
    """Lost: the quickest way to say what one thinks of a trace."""
    trace_id = "7" * 32
    assert "helpful = -0.5" in server.cli(["score", trace_id, "helpful", "-0.5", "--source", "me"])
    server.cli(["score", trace_id, "tone", "warm", "--span", "8" * 16, "--explanation", "kind"])
    server.cli(["score", trace_id, "done", "true"])
    assert "32 hex digits" in server.cli(["score", "zzz", "done", "true"], code=2)
    found = until(lambda: (s := server.get("/api/v1/scores", trace_id=trace_id)["items"]) and len(s) == 3 and s)
    told = {s["name"]: (s["value"], s["label"], s["span_id"], s["source"], s["explanation"]) for s in found}
    assert told == {
        "helpful": (-0.5, None, None, "me", None),
        "tone": (None, "warm", "8" * 16, "api", "kind"),
        "done": (1.0, None, None, "api", None),
    }


@dataclass
class Judge:
    """Gives scores one after the other until told to stop, each again, with its id, until it is acknowledged."""

    server: RunningServer
    numbers: itertools.count[int]
    acknowledged: dict[str, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            number = next(self.numbers)
            score = {"trace_id": f"{1 + number % 7:032x}", "name": "helpful", "value": number, "id": f"n{number}"}
            while not self.stop.is_set() and not self.give(score):
                time.sleep(0.05)
            if not self.stop.is_set():
                self.acknowledged[f"n{number}"] = float(number)

    def give(self, score: dict[str, Any]) -> bool:
        try:
            return (
                httpx.post(f"{self.server.endpoints()['api']}/api/v1/scores", json=score, timeout=5).status_code == 200
            )
        except (httpx.HTTPError, KeyError):
            return False


@pytest.mark.timeout(300)
def test_every_acknowledged_score_is_there_once(stopped_server: RunningServer) -> None:
    """Lost: a verdict that was acknowledged vanishes, or a retry counts it twice."""
    chance = random.Random(7)
    server = RunningServer(stopped_server.folder, AGENTTRACE_WRITE__FLUSH_AGE="500ms", AGENTTRACE_COMPACT__FAN_IN="3")
    server.start()
    numbers = itertools.count()
    judges = [Judge(server, numbers) for _ in range(2)]
    threads = [threading.Thread(target=judge.run) for judge in judges]
    try:
        for thread in threads:
            thread.start()
        for part in ("write", "query", "ingest", "write", "up", "query", "write"):
            time.sleep(chance.uniform(0.5, 1.5))
            server.kill(part)
            if part == "up":
                server.start()
        time.sleep(1)
    finally:
        for judge in judges:
            judge.stop.set()
        for thread in threads:
            thread.join()
    try:
        acknowledged = {name: value for judge in judges for name, value in judge.acknowledged.items()}
        assert len(acknowledged) > 20, server.log()
        until(lambda: not server.get("/api/v1/scores", limit=1)["partial"])
        assert_there_once(server, acknowledged)
        assert server.stop() == 0
        server.start()
        assert_there_once(server, acknowledged)
    finally:
        server.destroy()


def assert_there_once(server: RunningServer, acknowledged: dict[str, float]) -> None:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = server.get("/api/v1/scores", limit=100, **cursor)
        found += page["items"]
        if not page["next_cursor"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    values = {score["id"]: score["value"] for score in found}
    assert len(values) == len(found), "a score is there twice"
    assert {name: values.get(name) for name in acknowledged} == acknowledged
    by_trace = [
        s for n in range(7) for s in server.get("/api/v1/scores", trace_id=f"{1 + n:032x}", limit=1000)["items"]
    ]
    assert {score["id"] for score in by_trace} == values.keys()
