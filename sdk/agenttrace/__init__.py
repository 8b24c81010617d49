"""The AgentTrace SDK: what an application imports to put its agents on record.

    from agenttrace import init

    init(auto_instrument=["langchain", "openai"])

or, by hand:

    from agenttrace import AgentTrace

    tracer = AgentTrace()

    @tracer.trace_agent()
    def my_agent(question): ...

Enters: OpenTelemetry and wrapt, so that a bare install stays small and loads quickly. Never enters: the server, its
drivers, Arrow or pydantic. Nothing of it slows, breaks or leaks into the program that it observes.

Spans are OpenTelemetry's, in its GenAI conventions: an application that is instrumented already needs no more than
an OTLP exporter pointed at AgentTrace's port.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agenttrace import pipeline
from agenttrace.context import Scope
from agenttrace.spans import Span
from agenttrace.tracer import AgentTrace
from agenttrace_core.version import __version__

__all__ = ["AgentTrace", "Scope", "Span", "__version__", "flush", "init", "shutdown"]


def init(
    *,
    auto_instrument: Sequence[str] | bool = (),
    endpoint: str | None = None,
    api_key: str | None = None,
    service: str | None = None,
    **settings: Any,
) -> AgentTrace:
    """Begin to record, for the whole process, and return a tracer.

    Args:
        auto_instrument: libraries to instrument: ``openai``, ``langchain``, ``crewai``, or any instrumentation that is
            installed under OpenTelemetry's entry points; True for all of the former that are installed.
        endpoint: base URL of AgentTrace; else ``AGENTTRACE_ENDPOINT``, else the server on this machine.
        api_key: else ``AGENTTRACE_API_KEY``.
        service: the service's name; else ``OTEL_SERVICE_NAME``.
        settings: see ``agenttrace.settings.resolve``, and ``environment`` and ``version`` of the application.

    Raises:
        ValueError: a setting has a value that it cannot have, or there is no such instrumentation.
    """
    pipeline.start(endpoint=endpoint, api_key=api_key, service=service, **settings)
    tracer = AgentTrace()
    if auto_instrument:
        from agenttrace.auto import instrument

        instrument(auto_instrument, tracer)
    return tracer


def flush(timeout_s: float = 30.0) -> bool:
    """Send what is waiting, and say whether all of it went within the time."""
    running = pipeline.current()
    return running is None or running.exporter.force_flush(int(timeout_s * 1000))


def shutdown(timeout_s: float | None = None) -> None:
    """Send what is waiting, and stop recording."""
    pipeline.stop(None if timeout_s is None else int(timeout_s * 1000))
