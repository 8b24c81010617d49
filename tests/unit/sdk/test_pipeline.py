"""If these fail, a tracer made where its module is imported does not do what ``init`` says later, or an application
loses its own exporters to ours.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.unit.sdk.receiver import Receiver, attributes

_BEGIN = """
import json, sys, logging
logging.basicConfig(format="%(message)s")
from agenttrace import AgentTrace, flush, init, shutdown
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

url, kept = sys.argv[1], InMemorySpanExporter()
tracer = AgentTrace()

@tracer.trace_agent()
def agent(question):
    tracer.score("helpful", 1)
    return question

def application():
    provider = TracerProvider(resource=Resource.create({"service.name": "application"}))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)

def end():
    print(json.dumps([span.name for span in kept.get_finished_spans()]))
    assert flush(10)
"""


def _run(receiver: Receiver, code: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + code, receiver.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def _services(receiver: Receiver) -> set[str]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    requests = [ExportTraceServiceRequest.FromString(body) for path, _, body in receiver.requests if "trace" in path]
    named = [a for request in requests for r in request.resource_spans for a in r.resource.attributes]
    return {a.value.string_value for a in named if a.key == "service.name"}


def test_a_tracer_does_what_init_says_later(receiver: Receiver) -> None:
    code = 'init(endpoint=url, service="shop", capture_content=False, live="none"); agent("secret"); end()'
    assert _run(receiver, code) == ([], "")
    (span,) = receiver.spans
    assert not {"input.value", "output.value"} & attributes(span).keys()
    assert len(receiver.records) == 1
    assert _services(receiver) == {"shop"}


@pytest.mark.parametrize("again", ["init(endpoint=url)", "shutdown(); init(endpoint=url)"])
def test_a_tracer_outlives_what_it_was_made_with(receiver: Receiver, again: str) -> None:
    code = f'init(endpoint=url, live="none"); agent(1); {again}; agent(2); end()'
    assert _run(receiver, code) == ([], "")
    assert len([span for span in receiver.spans if span.end_time_unix_nano]) == 2
    assert len(receiver.records) == 2


@pytest.mark.parametrize("order", ["application(); {init}", "{init}; application()"])
def test_an_application_keeps_its_provider_and_ours_joins_it(receiver: Receiver, order: str) -> None:
    code = order.format(init='init(endpoint=url, live="none", service="shop")')
    code += '\nagent("q")\nwith trace.get_tracer("app").start_as_current_span("own"): agent("q")\nend()'
    assert _run(receiver, code) == (["agent", "agent", "own"], "")
    assert sorted(span.name for span in receiver.spans) == ["agent", "agent", "own"]
    assert _services(receiver) == {"shop"}
