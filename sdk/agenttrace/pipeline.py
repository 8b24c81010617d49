"""The provider that spans come from and the exporter that they go to: one of the process, or one of a tracer's own."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider

from agenttrace.export import Exporter
from agenttrace.settings import Settings, resolve

_NAMES_OF_SERVICE: Final = ("service", "environment", "version")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A provider whose spans an exporter sends. ``owned``: the provider is ours to shut down."""

    settings: Settings
    provider: TracerProvider
    exporter: Exporter
    owned: bool

    def shutdown(self, timeout_millis: int | None = None) -> None:
        """Send what is waiting, and stop sending."""
        self.exporter.shutdown(timeout_millis)
        if self.owned:
            self.provider.shutdown()


_lock = threading.Lock()
_of_process: Pipeline | None = None


def start(**options: Any) -> Pipeline:
    """Make the process's pipeline, once: later calls return it as it is, if they ask for nothing else.

    If the application has a ``TracerProvider`` of OpenTelemetry's SDK, spans come from that one, and its own exporters
    see them too; else one is made, and is the application's from now on.

    Raises:
        ValueError: a setting has a value that it cannot have.
    """
    global _of_process  # noqa: PLW0603 - a process has one
    with _lock:
        if _of_process is None or (_given(options) and _differs(_of_process, options)):
            if _of_process is not None:
                _of_process.exporter.shutdown()
            _of_process = _make(options, shared=True)
        return _of_process


def current() -> Pipeline | None:
    """Return the process's pipeline, if it has begun."""
    return _of_process


def stop(timeout_millis: int | None = None) -> None:
    """End the process's pipeline; ``start`` may begin another."""
    global _of_process
    with _lock:
        ended, _of_process = _of_process, None
    if ended is not None:
        ended.exporter.shutdown(timeout_millis)


def pipeline_of(**options: Any) -> Pipeline:
    """Return the process's pipeline if nothing is asked for, else one of its own."""
    if not _given(options):
        return start()
    return _make(options, shared=False)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _differs(pipeline: Pipeline, options: dict[str, Any]) -> bool:
    _, settings = _split(options)
    return resolve(**settings) != pipeline.settings


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    given = _given(options)
    return (
        {name: given[name] for name in _NAMES_OF_SERVICE if name in given},
        {name: value for name, value in given.items() if name not in _NAMES_OF_SERVICE},
    )


def _make(options: dict[str, Any], *, shared: bool) -> Pipeline:
    of_service, given = _split(options)
    settings = resolve(**given)
    exporter = Exporter(settings)
    existing = trace.get_tracer_provider() if shared else None
    if isinstance(existing, TracerProvider):
        provider, owned = existing, False
    else:
        # The exporter is shut down by itself at the end of the process.
        provider, owned = TracerProvider(resource=_resource(of_service), shutdown_on_exit=False), not shared
        if shared:
            trace.set_tracer_provider(provider)
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        exporter.shutdown()  # before anything came: spans and scores are let go of from now on
    else:
        provider.add_span_processor(exporter)
    return Pipeline(settings, provider, exporter, owned)


def _resource(of_service: dict[str, Any]) -> Resource:
    names = {"service": SERVICE_NAME, "environment": "deployment.environment.name", "version": "service.version"}
    return Resource.create({names[name]: str(value) for name, value in of_service.items()})
