"""Traces, in lists and one by one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agenttrace_server.query.models.common import Model, Money, Partial
from agenttrace_server.query.models.scores import Score
from agenttrace_server.query.models.spans import LightSpan


class Summary(Model):
    """Sums over a trace. Times are nanoseconds since the epoch; name and service are the root's, if it has come."""

    trace_id: str
    name: str
    service: str | None
    start_ns: int
    end_ns: int
    duration_ns: int
    spans: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: Money | None = Field(description="Null if no span that counts has a known price.")
    unpriced: int = Field(description="Spans that count, have tokens, and no cost: their model has no known price.")
    running: int = Field(description="Spans that have not ended.")
    received_ns: int = Field(description="When the latest span came.")
    has_root: bool
    status: Literal["ok", "error"] = Field(description="Whether a span of it has failed.")
    state: Literal["running", "complete", "broken"]
    session_id: str | None
    user_id: str | None


class TraceListing(Partial):
    """A page of traces, newest first by (start, trace id)."""

    items: list[Summary]
    next_cursor: str | None


class TraceError(Model):
    """The first error that explains a failure: the deepest, from which those above it followed."""

    span_id: str
    name: str
    service: str | None
    type: str | None
    message: str | None
    reached_top: bool = Field(description="Every span above it has failed too.")


class PathStep(Model):
    """A span on the critical path, and the time that it took there by itself."""

    span_id: str
    name: str
    self_ns: int


class MissingParent(Model):
    """A parent that spans name, and that is not there."""

    span_id: str
    children: int


class ServiceSkew(Model):
    """A service whose clock is off: the largest correction, and how many spans are corrected."""

    service: str
    skew_ns: int
    spans: int


class TraceSummary(Summary):
    """What a whole trace is. Lists hold what came first first, 100 at most."""

    agents: list[str]
    models: list[str]
    providers: list[str]
    tools: list[str]
    services: list[str]
    sessions: list[str]
    users: list[str]
    tags: list[str]
    environment: str | None
    version: str | None
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    input_audio_tokens: int
    output_audio_tokens: int
    input_preview: str | None = Field(description="The root's, else the first that there is.")
    output_preview: str | None = Field(description="The root's, else the last that there is.")
    error: TraceError | None
    critical_path: list[PathStep] = Field(description="In tree order; where there are over 100, the longest.")
    roots: int
    depth: int = Field(description="Levels of the tree.")
    missing_parents: list[MissingParent]
    clock_skew: list[ServiceSkew]


class SpanPage(Partial):
    """A page of a trace's spans. ``matched`` is how many are asked for, over all pages."""

    trace_id: str
    spans: list[LightSpan]
    matched: int
    next_cursor: str | None


class Trace(SpanPage):
    """A page of a trace's spans, and what the whole trace is."""

    summary: TraceSummary
    scores: list[Score] = Field(description="The newest thousand that count, of the trace and its spans.")
