"""``agenttrace up`` as its users meet it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from agenttrace_server.live_folder import live_folder
from agenttrace_server.settings import WriteSettings
from tests.e2e.running import RunningServer, until

HOSTILE = "plan \x1b[31m[bold]red[/]\n"


def export(exporter: SpanExporter) -> str:
    """Send a trace of three spans, one of them failed, and return its id."""
    provider = TracerProvider(resource=Resource({"service.name": "e2e"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("e2e")
    with tracer.start_as_current_span(HOSTILE) as root:
        with tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}) as chat:
            chat.set_attribute("gen_ai.usage.input_tokens", 812)
        with pytest.raises(ValueError, match="no"), tracer.start_as_current_span("tool"):
            raise ValueError("no")
    provider.shutdown()
    return f"{root.get_span_context().trace_id:032x}"


def is_readable(server: RunningServer, trace_id: str, spans: int) -> bool:
    answer = httpx.get(f"{server.endpoints()['api']}/api/v1/traces/{trace_id}", timeout=30)
    return answer.status_code == 200 and len(answer.json()["spans"]) == spans


@pytest.mark.parametrize("door", ["otlp_http", "otlp_grpc"])
def test_a_trace_of_a_real_exporter_is_read_by_api_and_terminal(server: RunningServer, door: str) -> None:
    """Lost: the whole point; an unmodified exporter's trace cannot be seen."""
    at = server.endpoints()[door]
    trace_id = export(HttpExporter(f"{at}/v1/traces") if door == "otlp_http" else GrpcExporter(at, insecure=True))
    until(lambda: is_readable(server, trace_id, 3), 10)

    answer = server.get(f"/api/v1/traces/{trace_id}")
    assert {span["name"] for span in answer["spans"]} == {HOSTILE, "chat", "tool"}
    assert answer["summary"]["errors"] == 1
    assert [item["trace_id"] for item in server.get("/api/v1/traces")["items"]] == [trace_id]

    listed = server.cli(["traces"])
    assert trace_id in listed
    shown = server.cli(["trace", trace_id[:6]])
    assert "├─ chat" in shown
    assert "└─ tool ✗" in shown
    assert "812→0" in shown
    assert "\x1b" not in listed + shown
    assert r"plan \x1b[31m[bold]red[/]⏎" in shown


def test_sigterm_ends_in_order_with_0(server: RunningServer) -> None:
    """Lost: a service manager takes every stop for a failure, or kills what was about to be written."""
    trace_id = export(HttpExporter(f"{server.endpoints()['otlp_http']}/v1/traces"))
    assert server.stop() == 0
    assert not (server.folder / "endpoints.json").exists()
    live = live_folder(server.folder, needed_bytes=WriteSettings().live_bytes)
    assert not list(live.iterdir()), "memory is taken for what nobody serves"
    server.start()
    until(lambda: is_readable(server, trace_id, 3), 10)


def test_a_second_up_is_refused_by_folder_and_pid(server: RunningServer) -> None:
    """Lost: two servers on one folder."""
    before = server.endpoints()
    said = server.cli(["up", "--port", "0", "--otlp-port", "0", "--grpc-port", "0"], code=2)
    assert str(server.folder) in said
    assert str(server.pid_of("up")) in said
    assert server.endpoints() == before
    assert httpx.get(f"{before['api']}/readyz").status_code == 200


def test_a_taken_port_is_refused_by_its_setting(server: RunningServer, tmp_path: Path) -> None:
    """Lost: two servers that share a port, of which each gets half of the spans."""
    taken = server.endpoints()["otlp_grpc"].rpartition(":")[2]
    other = RunningServer(tmp_path / "other")
    said = other.cli(["up", "--port", "0", "--otlp-port", "0", "--grpc-port", taken], code=2)
    assert f"ingest.grpc_port: port {taken}" in said


@pytest.mark.parametrize("part", ["ingest", "write", "query"])
def test_what_dies_comes_back_on_the_same_ports(server: RunningServer, part: str) -> None:
    """Lost: after the death of one process, exporters and readers must be told of new ports, or nobody comes back."""
    endpoints = server.endpoints()
    server.kill(part)
    until(lambda: server.status()[part]["restarts"] == 1 and server.status()[part]["ready"])

    assert server.endpoints() == endpoints
    for door in ("otlp_http", "otlp_grpc"):
        at = endpoints[door]
        trace_id = export(HttpExporter(f"{at}/v1/traces") if door == "otlp_http" else GrpcExporter(at, insecure=True))
        until(lambda trace_id=trace_id: is_readable(server, trace_id, 3), 20)  # type: ignore[misc]


def test_readyz_tells_when_a_part_is_away(server: RunningServer) -> None:
    """Lost: a load balancer sends to a server whose doors or writer are dead."""
    ready = f"{server.endpoints()['api']}/readyz"
    assert httpx.get(ready).status_code == 200
    os.kill(server.pid_of("write"), signal.SIGKILL)
    until(lambda: httpx.get(ready, timeout=10).status_code == 503, 10)
    until(lambda: httpx.get(ready, timeout=10).status_code == 200)


def test_nothing_is_left_of_a_killed_server(server: RunningServer) -> None:
    """Lost: after kill -9, a restart finds its ports and locks held by orphans."""
    children = [server.pid_of(part) for part in ("ingest", "write", "query")]
    server.kill("up")
    until(lambda: not any(is_alive(pid) for pid in children), 5)
    began = time.monotonic()
    server.start()
    assert time.monotonic() - began < 30
    assert httpx.get(f"{server.endpoints()['api']}/readyz").status_code == 200


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_demo_has_something_to_look_at(tmp_path: Path) -> None:
    """Lost: a newcomer's first minute."""
    server = RunningServer(tmp_path / "data")
    server.start()
    try:
        from agenttrace_server.cli.demo_traces import demo_request

        request = json.dumps(demo_request(seed=1)).encode()
        answer = httpx.post(
            f"{server.endpoints()['otlp_http']}/v1/traces",
            content=request,
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        assert not answer.json().get("partialSuccess")
        traces = until(lambda: (found := server.traces()) and len(found) == 6 and found)
        assert isinstance(traces, list)
        assert {trace["service"] for trace in traces} >= {"research-crew", "travel-agent", "support-chat"}
        assert sum(trace["errors"] for trace in traces) >= 5
        assert all(trace["has_root"] for trace in traces)
        assert "Zürich" not in server.cli(["traces"])
    finally:
        server.destroy()


def test_demo_beside_a_running_server_sends_to_that_one(server: RunningServer) -> None:
    """Lost: the newcomer who has done the first step already, and is told that the folder is in use."""
    said = server.cli(["demo"])
    assert f"traces --api {server.endpoints()['api']}" in said
    traces = until(lambda: (found := server.traces()) and len(found) == 6 and found, 20)
    assert isinstance(traces, list)
    assert server.cli(["trace", traces[0]["trace_id"][:8]])
