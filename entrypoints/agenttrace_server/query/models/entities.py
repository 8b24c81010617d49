"""Sessions, users, agents, tools, models and prompts, with their figures; kinds of errors."""

from __future__ import annotations

from pydantic import Field

from agenttrace_server.query.models.common import Model, Money, Partial
from agenttrace_server.query.models.scores import Score
from agenttrace_server.query.models.traces import Summary


class EntityFigures(Model):
    """What a list tells of a session or a user. Durations and percentiles are of spans."""

    id: str
    spans: int
    traces: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: Money | None = Field(description="Null if no span that counts has a known price.")
    unpriced: int = Field(description="Spans that count, have tokens, and no cost: their model has no known price.")
    first_ns: int | None = Field(description="The start of its first span.")
    last_ns: int | None = Field(description="The start of its last span.")


class EntityDetails(EntityFigures):
    """What is told of agents, tools, models and prompts in lists, and of everything by id."""

    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    given_cost_usd: Money | None
    cost_difference_usd: Money | None = Field(description="The given cost less the computed one, where both are known.")
    p50_ns: float | None
    p95_ns: float | None
    p99_ns: float | None


class EntityListing(Partial):
    """A page of a list."""

    items: list[EntityDetails | EntityFigures]
    next_cursor: str | None


class EntityPage(Partial):
    """One thing, and a page of the traces that have a span of it, newest first."""

    item: EntityDetails
    traces: list[Summary]
    scores: list[Score] | None = Field(description="Of a session: its own, and those of the traces on this page.")
    next_cursor: str | None


class ErrorGroup(Model):
    """Failed spans of one kind: of one exception type, with messages that differ only in what varies, and one name."""

    type: str | None
    message: str | None
    name: str
    count: int
    traces: int
    users: int
    sessions: int
    first_ns: int
    last_ns: int
    trace_id: str = Field(description="The trace of the span that failed last, whose id is span_id.")
    span_id: str


class ErrorListing(Partial):
    """A page of kinds of errors, the most frequent first."""

    items: list[ErrorGroup]
    next_cursor: str | None
