"""``python -m tests.benchmarks.sdk_program WHO URL CALLS STEPS``: one instrumented program, timed, as a line of JSON.

WHO makes a span a call, with 200 characters in and out, and exports to URL: ``agenttrace``, ``opentelemetry`` (its
SDK and its own exporter), ``langfuse``, ``logfire``; ``nobody`` makes none. Reported are microseconds a call in the
program, and of processor time in all, exporting included; for STEPS, an agent's steps of 50 ms each, how long the loop
took.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

_TEXT = "x" * 200
_WARM_UP = 500
_STEP_S = 0.05

Decorated = Callable[[str], str]


def _work(text: str) -> str:
    return text


def _nobody(_: str) -> tuple[Decorated, Callable[[], Any]]:
    return _work, lambda: None


def _agenttrace(url: str) -> tuple[Decorated, Callable[[], Any]]:
    from agenttrace import AgentTrace

    tracer = AgentTrace(url, max_queue_spans=1_000_000, max_queue_bytes=1 << 30)
    return tracer.trace_agent("work")(_work), tracer.flush


def _opentelemetry(url: str) -> tuple[Decorated, Callable[[], Any]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces"), max_queue_size=1_000_000))
    tracer = provider.get_tracer("benchmark")

    def work(text: str) -> str:
        with tracer.start_as_current_span("work") as span:
            span.set_attribute("gen_ai.operation.name", "invoke_agent")
            span.set_attribute("gen_ai.agent.name", "work")
            span.set_attribute("input.value", text)
            result = _work(text)
            span.set_attribute("output.value", result)
            return result

    return work, provider.force_flush


def _langfuse(url: str) -> tuple[Decorated, Callable[[], Any]]:
    os.environ.update(LANGFUSE_PUBLIC_KEY="pk", LANGFUSE_SECRET_KEY="sk", LANGFUSE_HOST=url)
    from langfuse import get_client, observe

    return observe(as_type="agent")(_work), get_client().flush


def _logfire(url: str) -> tuple[Decorated, Callable[[], Any]]:
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
    import logfire

    logfire.configure(send_to_logfire=False, console=False, metrics=False)
    return logfire.instrument("work", record_return=True)(_work), logfire.force_flush


_CONTENDERS = {
    "nobody": _nobody, "agenttrace": _agenttrace, "opentelemetry": _opentelemetry, "langfuse": _langfuse,
    "logfire": _logfire,
}  # fmt: skip


def main() -> None:
    """Time one contender."""
    who, url, calls, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    work, flush = _CONTENDERS[who](url)
    for _ in range(_WARM_UP):
        work(_TEXT)
    flush()
    cpu, begun = time.process_time(), time.perf_counter()
    for _ in range(calls):
        work(_TEXT)
    called = time.perf_counter()
    flush()
    flushed, cpu = time.perf_counter(), time.process_time() - cpu
    loop = time.perf_counter()
    for _ in range(steps):
        work(_TEXT)
        time.sleep(_STEP_S)
    loop = time.perf_counter() - loop
    told = {
        "call_us": (called - begun) / calls * 1e6,
        "all_us": (flushed - begun) / calls * 1e6,
        "cpu_us": cpu / calls * 1e6,
        "loop_s": loop,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
