"""What is said of one trace beyond its sums."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceError:
    """The first error that explains a failure: the deepest one, from which the others above it followed.

    ``reached_top``: every span above it has failed too, so that the whole trace failed by it.
    """

    span_id: str
    name: str
    service: str | None
    type: str | None
    message: str | None
    reached_top: bool


@dataclass(frozen=True, slots=True)
class PathStep:
    """A span on the critical path, and the nanoseconds that it took there by itself."""

    span_id: str
    name: str
    self_ns: int


@dataclass(frozen=True, slots=True)
class MissingParent:
    """A parent that spans name, and that is not there."""

    span_id: str
    children: int


@dataclass(frozen=True, slots=True)
class ServiceSkew:
    """A service whose clock is off: the largest correction of its spans' starts, and how many are corrected."""

    service: str
    skew_ns: int
    spans: int


@dataclass(frozen=True, slots=True)
class TraceDetail:
    """Who took part in a trace, how it went, and what is odd about it. Lists hold what came first first."""

    agents: tuple[str, ...]
    models: tuple[str, ...]
    providers: tuple[str, ...]
    tools: tuple[str, ...]
    services: tuple[str, ...]
    sessions: tuple[str, ...]
    users: tuple[str, ...]
    tags: tuple[str, ...]
    environment: str | None
    version: str | None
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    input_audio_tokens: int
    output_audio_tokens: int
    input_preview: str | None
    output_preview: str | None
    error: TraceError | None
    critical_path: tuple[PathStep, ...]
    roots: int
    depth: int
    missing_parents: tuple[MissingParent, ...]
    clock_skew: tuple[ServiceSkew, ...]
