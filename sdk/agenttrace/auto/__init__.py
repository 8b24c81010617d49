"""Instrumentation of libraries: ours, a module each, and any that is installed under OpenTelemetry's entry points."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agenttrace.tracer import AgentTrace

OURS: Final[dict[str, str]] = {"openai": "openai", "langchain": "langchain_core", "crewai": "crewai"}
"""The names of our instrumentations, and the package that each needs; each is the module of that name in here."""

_GROUP: Final = "opentelemetry_instrumentor"


def instrument(names: Sequence[str] | bool, tracer: AgentTrace) -> None:
    """Instrument libraries, each once.

    Args:
        names: of ours, or of entry points in the group ``opentelemetry_instrumentor``; True for all of ours whose
            library is installed.
        tracer: makes the spans of ours.

    Raises:
        ValueError: there is none of that name, or its library is not installed.
    """
    if names is True:
        names = [name for name, package in OURS.items() if find_spec(package) is not None]
    elif isinstance(names, str):
        names = [names]
    others = {point.name: point for point in entry_points(group=_GROUP)}
    chosen = [_find(name, others) for name in names or ()]
    for found in chosen:
        if isinstance(found, EntryPoint):
            _begin(found, tracer)
        else:
            import_module(f"agenttrace.auto.{found}").instrument(tracer)


def _find(name: str, others: dict[str, EntryPoint]) -> str | EntryPoint:
    if name in OURS:
        if find_spec(OURS[name]) is None:
            raise ValueError(f"auto_instrument: {name!r} needs the package {OURS[name]!r}: pip install {OURS[name]}")
        return name
    if name in others:
        return others[name]
    known = ", ".join(sorted({*OURS, *others}))
    raise ValueError(f"auto_instrument: there is no instrumentation {name!r}; there are {known}")


def _begin(point: EntryPoint, tracer: AgentTrace) -> None:
    instrumentor: Any = point.load()()
    if not getattr(instrumentor, "is_instrumented_by_opentelemetry", False):
        instrumentor.instrument(tracer_provider=tracer.provider)
