"""The provider that spans come from and the exporter that they go to: one of the process, or one of a tracer's own."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider

from agenttrace.export import Exporter
from agenttrace.settings import Settings, resolve

_NAMES_OF_SERVICE: Final = {
    "service": SERVICE_NAME, "environment": "deployment.environment.name", "version": "service.version"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A provider whose spans an exporter sends. ``owned``: the provider is ours to shut down."""

    settings: Settings
    provider: TracerProvider
    exporter: Exporter
    owned: bool
    names: Mapping[str, str] = field(default_factory=dict)
    """What ``service``, ``environment`` and ``version`` were given as, by attribute."""

    def shutdown(self, timeout_millis: int | None = None) -> None:
        """Send what is waiting, and stop sending."""
        self.exporter.shutdown(timeout_millis)
        if self.owned:
            self.provider.shutdown()


_lock = threading.Lock()
_of_process: Pipeline | None = None  # a process has one


def start(**options: Any) -> Pipeline:
    """Make the process's pipeline, once: later calls return it as it is, if they ask for nothing else.

    If the application has a ``TracerProvider`` of OpenTelemetry's SDK, spans come from that one, and its own exporters
    see them too; else one is made, and is the application's until it sets one of its own.

    Raises:
        ValueError: a setting has a value that it cannot have.
    """
    global _of_process
    given = _given(options)
    with _lock:
        if _of_process is None or (given and _differs(_of_process, given)):
            ended, _of_process = _of_process, _make(given, shared=True)
            if ended is not None:
                ended.exporter.shutdown()
        return _of_process


def current() -> Pipeline | None:
    """Return the process's pipeline, if it has begun."""
    running = _of_process
    if running is not None and trace.get_tracer_provider() is not running.provider:
        return _follow(running)
    return running


def stop(timeout_millis: int | None = None) -> None:
    """End the process's pipeline; ``start`` may begin another."""
    global _of_process
    with _lock:
        ended, _of_process = _of_process, None
    if ended is not None:
        ended.exporter.shutdown(timeout_millis)


def its_own(**options: Any) -> Pipeline | None:
    """Return a pipeline as asked for, apart from the process's; None if nothing is asked for."""
    given = _given(options)
    return _make(given, shared=False) if given else None


def _follow(running: Pipeline) -> Pipeline:
    """Join the provider that the application has set since."""
    global _of_process  # noqa: PLW0603 - a process has one
    provider = trace.get_tracer_provider()
    with _lock:
        if _of_process is not running or not isinstance(provider, TracerProvider):
            return _of_process or running
        _join(provider, running.exporter)
        _of_process = replace(running, provider=provider, owned=False)
        return _of_process


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _differs(running: Pipeline, given: dict[str, Any]) -> bool:
    names, settings = _split(given)
    return resolve(**settings) != running.settings or not names.items() <= running.names.items()


def _split(given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    return (
        {attribute: str(given[name]) for name, attribute in _NAMES_OF_SERVICE.items() if name in given},
        {name: value for name, value in given.items() if name not in _NAMES_OF_SERVICE},
    )


def _make(given: dict[str, Any], *, shared: bool) -> Pipeline:
    names, options = _split(given)
    settings = resolve(**options)
    exporter = Exporter(settings, names=names)
    existing = trace.get_tracer_provider() if shared else None
    if isinstance(existing, TracerProvider):
        provider, owned = existing, False
    else:
        # The exporter is shut down by itself at the end of the process.
        provider, owned = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False), not shared
        if shared:
            _offer(provider)
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        exporter.shutdown()  # before anything came: spans and scores are let go of from now on
    else:
        _join(provider, exporter)
    return Pipeline(settings, provider, exporter, owned, names)


def _offer(provider: TracerProvider) -> None:
    """Make it the application's, but let the application set another one: OpenTelemetry allows that only once."""
    trace.set_tracer_provider(provider)
    once = getattr(trace, "_TRACER_PROVIDER_SET_ONCE", None)
    if once is not None:
        trace._TRACER_PROVIDER_SET_ONCE = type(once)()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no public way


def _join(provider: TracerProvider, exporter: Exporter) -> None:
    if provider not in exporter.providers:
        exporter.providers.add(provider)
        provider.add_span_processor(exporter)
