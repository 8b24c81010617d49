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
    cost_usd: Money
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


class Trace(Partial):
    """A page of a trace's spans, ordered by start, then span id."""

    trace_id: str
    summary: Summary
    spans: list[LightSpan]
    scores: list[Score] = Field(description="The newest thousand that count, of the trace and its spans.")
    next_cursor: str | None
