"""Scores: what a person or a program thinks of a span, a trace or a session."""

from __future__ import annotations

from dataclasses import dataclass, field

from agenttrace_core.model.algebra import Interval


@dataclass(frozen=True, slots=True)
class ScoreSelection:
    """Which scores are wanted; those that satisfy all that is given.

    Attributes:
        trace_ids: of one of these traces, or of a span of one.
        session_ids: of one of these sessions, as the score itself says.
        name: by this name.
        during: given within this time.
    """

    trace_ids: tuple[str, ...] | None = None
    session_ids: tuple[str, ...] | None = None
    name: str | None = None
    during: Interval = field(default_factory=Interval)


@dataclass(frozen=True, slots=True, order=True)
class ScorePlace:
    """A score's place in a list, which is ordered newest first by these."""

    time_ns: int
    partition: int
    offset: int
    position: int
