"""Spans: light rows, and everything of one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agenttrace_server.query.models.common import Model, Money, Partial
from agenttrace_server.query.models.scores import Score


class LightFields(Model):
    """What a tree shows of a span. ``kind`` and ``status`` are OpenTelemetry's, in lower case."""

    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    service: str | None
    scope: str | None
    start_ns: int | None
    duration_ns: int | None
    status: str
    status_message: str | None
    operation: str | None
    provider: str | None
    model: str | None
    agent: str | None
    tool: str | None
    session_id: str | None
    user_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    input_audio_tokens: int | None
    output_audio_tokens: int | None
    cost_usd: Money | None = Field(description="By the model's price at the span's start; null if that is not known.")
    given_cost_usd: Money | None = Field(description="What the sender says that it cost.")
    counted: bool | None = Field(description="Whether its tokens and cost count in sums; null if it has none.")
    time_to_first_chunk_ns: int | None
    input_preview: str | None
    output_preview: str | None
    error_type: str | None
    error_group: str | None
    environment: str | None
    version: str | None
    prompt: str | None
    prompt_version: str | None
    tags: list[str] | None
    quality: list[str] = Field(description="What is odd about the span, such as no_end or bad_utf8.")


class LightSpan(LightFields):
    """A span in a trace, and where it hangs in the tree."""

    orphan: bool = Field(description="Its parent is named, but not among the trace's spans.")
    depth: int = Field(description="0 for what hangs under nothing.")
    children: int = Field(description="Spans right below it.")
    descendants: int = Field(description="Spans below it at any depth.")
    skew_ns: int = Field(description="What to add to start_ns so that no call begins before it was made.")


class FoundSpan(LightFields):
    """A span among those of many traces."""

    trace_id: str


class SpanListing(Partial):
    """A page of spans, newest first by (start, trace id, span id)."""

    items: list[FoundSpan]
    next_cursor: str | None


class Event(Model):
    """An event of a span. Attributes are as in OTLP/JSON."""

    time_ns: int
    name: str
    attributes: list[dict[str, Any]]
    dropped_attributes_count: int


class LogEvent(Model):
    """A GenAI event that came as a log record and names the span. Body and attributes are as in OTLP/JSON."""

    time_ns: int
    name: str
    scope: str
    severity_text: str
    body: dict[str, Any] | None
    attributes: list[dict[str, Any]]
    dropped_attributes_count: int


class Link(Model):
    """A link of a span."""

    trace_id: str
    span_id: str
    trace_state: str
    flags: int
    attributes: list[dict[str, Any]]
    dropped_attributes_count: int


class Resource(Model):
    """What sent the span."""

    attributes: list[dict[str, Any]]
    dropped_attributes_count: int
    schema_url: str


class InstrumentationScope(Resource):
    """What made the span."""

    name: str
    version: str


class Message(Model):
    """Who said what. A part is one of OpenTelemetry's, by its ``type``."""

    role: str = Field(description="user, assistant, system or tool; others as they were sent.")
    parts: list[dict[str, Any]]
    name: str | None = None
    finish_reason: str | None = None


class OneSpan(LightFields):
    """Everything of a span. Attributes are as in OTLP/JSON: ``[{"key": …, "value": {"stringValue": …}}]``."""

    trace_id: str
    end_ns: int | None
    received_ns: int
    input_messages: list[Message] | None = Field(description="What the span was given; null if it does not say.")
    output_messages: list[Message] | None = Field(description="What it gave.")
    system_instructions: list[dict[str, Any]] | None = Field(description="Parts, where they are apart from the input.")
    tool_definitions: list[dict[str, Any]] | None
    input: Any = Field(description="The input itself, where the messages do not say all of it.")
    output: Any = Field(description="The output itself, where the messages do not say all of it.")
    trace_state: str
    flags: int
    attributes: list[dict[str, Any]]
    dropped_attributes_count: int
    events: list[Event]
    dropped_events_count: int
    log_events: list[LogEvent] = Field(description="GenAI events that came as log records.")
    scores: list[Score] = Field(description="Those that count, newest first.")
    links: list[Link]
    dropped_links_count: int
    resource: Resource
    instrumentation_scope: InstrumentationScope


class Span(OneSpan):
    """Everything of a span, and of the others that senders gave the same id (Zipkin's client and server)."""

    others: list[OneSpan]
