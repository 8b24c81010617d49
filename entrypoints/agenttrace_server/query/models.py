"""What the API answers, as OpenAPI tells it. Answers are written from columns; tests hold them to these models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Money = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{12}$", description="US dollars, a decimal with 12 places.")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(_Model):
    """``kind`` is stable across releases; ``message`` is for people."""

    kind: str
    message: str


class Error(_Model):
    """The body of every answer that is no success."""

    error: ErrorDetail


class Partial(_Model):
    """``partial`` says that something acknowledged was not readable yet; ``lag_bytes`` how much of the log."""

    partial: bool = False
    lag_bytes: int | None = 0


class Summary(_Model):
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
    session_id: str | None
    user_id: str | None


class TraceListing(Partial):
    """A page of traces, newest first by (start, trace id)."""

    items: list[Summary]
    next_cursor: str | None


class LightFields(_Model):
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
    """A span in a trace. ``orphan``: its parent is named, but not among the trace's spans."""

    orphan: bool


class TailSpan(LightFields):
    """A span as it arrives."""

    trace_id: str


class Trace(Partial):
    """A page of a trace's spans, ordered by start, then span id."""

    trace_id: str
    summary: Summary
    spans: list[LightSpan]
    next_cursor: str | None


class Event(_Model):
    """An event of a span. Attributes are as in OTLP/JSON."""

    time_ns: int
    name: str
    attributes: list[dict[str, Any]]
    dropped_attributes_count: int


class Link(_Model):
    """A link of a span."""

    trace_id: str
    span_id: str
    trace_state: str
    flags: int
    attributes: list[dict[str, Any]]
    dropped_attributes_count: int


class Resource(_Model):
    """What sent the span."""

    attributes: list[dict[str, Any]]
    dropped_attributes_count: int
    schema_url: str


class InstrumentationScope(Resource):
    """What made the span."""

    name: str
    version: str


class OneSpan(LightFields):
    """Everything of a span. Attributes are as in OTLP/JSON: ``[{"key": …, "value": {"stringValue": …}}]``."""

    trace_id: str
    end_ns: int | None
    received_ns: int
    trace_state: str
    flags: int
    attributes: list[dict[str, Any]]
    dropped_attributes_count: int
    events: list[Event]
    dropped_events_count: int
    links: list[Link]
    dropped_links_count: int
    resource: Resource
    instrumentation_scope: InstrumentationScope


class Span(OneSpan):
    """Everything of a span, and of the others that senders gave the same id (Zipkin's client and server)."""

    others: list[OneSpan]


class Receipt(_Model):
    """What has become of an acknowledged request."""

    id: str
    signal: str
    received_ns: int
    accepted: int
    rejected: int
    reason: str = Field(description="Why some were rejected; empty if none were.")
    stored: bool = Field(description="Durable: what was accepted outlives a crash.")
    readable: bool = Field(description="All that was accepted is in the answers of this API.")
    in_files: bool = Field(description="All that was accepted is in files on object storage.")


class Sent(_Model):
    """An acknowledgement: what was accepted is durable.

    ``partialSuccess`` is as in OTLP, and absent if none was rejected.
    """

    receipt: str
    accepted: int
    rejected: int
    reason: str
    trace_ids: list[str] = Field(default=[], description="Of a simple JSON trace, the id that it was given.")
    partialSuccess: dict[str, Any] | None = None  # noqa: N815 - the name in OTLP


class DeadLetter(_Model):
    """Something that was refused. ``bytes`` is null if only the reason was kept."""

    id: str
    signal: str
    received_ns: int
    reason: str
    spans: int
    bytes: int | None


class DeadLetters(_Model):
    """A page of dead letters, newest first."""

    items: list[DeadLetter]
    next_cursor: str | None


class Health(_Model):
    """Whether each part of the server serves."""

    status: str
    parts: dict[str, bool]
