"""Arrow schemas of the rows that a decoded batch, a live chunk and a segment file hold.

A decoded span is one row of ``ROWS``: the ``LIGHT`` columns, which lists and trees are made
of, and the ``PAYLOAD`` columns, which are what the sender sent. In a segment file the two go
into two Parquet objects with the same row numbers. ``TRACES`` holds one row a trace, project and
window: sums over the trace's rows in that file, and where they are.
"""

from __future__ import annotations

import pyarrow as pa

MONEY = pa.decimal128(18, 12)
"""US dollars, exactly. In memory and in sums also as ``*_pico_usd``: integers of 1e-12 dollars."""

LIGHT = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("trace_id", pa.string(), nullable=False),  # 32 lowercase hex digits
        pa.field("span_id", pa.string(), nullable=False),  # 16 lowercase hex digits
        pa.field("parent_span_id", pa.string()),  # null for a root
        pa.field("name", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # OTel SpanKind, lowercase; see KINDS
        pa.field("service", pa.string()),  # resource attribute service.name
        pa.field("scope", pa.string()),  # instrumentation scope's name
        pa.field("start_ns", pa.int64()),  # since the epoch; null if the sender gave none
        pa.field("duration_ns", pa.int64()),  # end - start, may be negative; null without both
        pa.field("status", pa.string(), nullable=False),  # see STATUSES
        pa.field("status_message", pa.string()),  # the first 256 bytes
        pa.field("quality", pa.uint16(), nullable=False),  # bits of agenttrace_core.model.span.Quality
        pa.field("operation", pa.string()),  # gen_ai.operation.name
        pa.field("provider", pa.string()),  # gen_ai.provider.name
        pa.field("model", pa.string()),  # gen_ai.response.model, else gen_ai.request.model
        pa.field("agent", pa.string()),  # gen_ai.agent.name
        pa.field("tool", pa.string()),  # gen_ai.tool.name
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("cache_read_tokens", pa.int64()),  # a part of input_tokens
        pa.field("cache_write_tokens", pa.int64()),  # a part of input_tokens
        pa.field("reasoning_tokens", pa.int64()),  # a part of output_tokens
        pa.field("input_audio_tokens", pa.int64()),  # a part of input_tokens
        pa.field("output_audio_tokens", pa.int64()),  # a part of output_tokens
        pa.field("cost_usd", MONEY),  # from the price at the span's start; null where the model has no known price
        pa.field("given_cost_usd", MONEY),  # what the sender says that it cost
        pa.field("counted", pa.bool_()),  # whether tokens and costs count in sums; null where the span has none
        pa.field("time_to_first_chunk_ns", pa.int64()),
        pa.field("input_preview", pa.string()),  # the first 200 characters
        pa.field("output_preview", pa.string()),
        pa.field("error_type", pa.string()),  # error.type, else the type of the span's exception
        pa.field("error_group", pa.string()),  # its message, with what varies taken out; at most 200 characters
        pa.field("environment", pa.string()),  # deployment.environment.name
        pa.field("version", pa.string()),  # of the application: service.version, or its release
        pa.field("prompt", pa.string()),  # gen_ai.prompt.name
        pa.field("prompt_version", pa.string()),
        # What a span says itself, else its nearest ancestor. Ancestors that were not there when the
        # row was written are sought from context_ref on, which is null where nothing is left to seek.
        pa.field("context_agent", pa.string()),
        pa.field("context_session_id", pa.string()),
        pa.field("context_user_id", pa.string()),
        pa.field("context_ref", pa.string()),  # 16 hex digits: the nearest ancestor that was not there
        pa.field("received_ns", pa.int64(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),  # of the record that brought the span
        pa.field("position", pa.int32(), nullable=False),  # of the span in its record, from 0
        pa.field("more_attributes", pa.bool_(), nullable=False),  # some are in the payload alone
        pa.field("tags", pa.list_(pa.string())),
        # All of at most 256 bytes, as text; others without a value. Of the resource with the prefix "resource.".
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
    ]
)

NESTED = ("tags", "attributes")
"""The columns of ``LIGHT`` that are not flat. They come last, so that those before them are numbered as in a file."""

SEARCHED = ("name", "status_message", "input_preview", "output_preview")
"""The columns of ``LIGHT`` that free text is sought in, beside attributes."""

PAYLOAD = pa.schema(
    [
        pa.field("span", pa.binary(), nullable=False),  # opentelemetry.proto.trace.v1.Span, as received
        pa.field("resource", pa.binary()),  # opentelemetry.proto.resource.v1.Resource, as received
        pa.field("resource_schema_url", pa.binary()),
        pa.field("scope_message", pa.binary()),  # opentelemetry.proto.common.v1.InstrumentationScope
        pa.field("scope_schema_url", pa.binary()),
    ]
)

_IN_MEMORY = {
    **{name: pa.dictionary(pa.int32(), pa.binary()) for name in PAYLOAD.names if name != "span"},
    "attributes": pa.map_(pa.dictionary(pa.int32(), pa.string()), pa.string()),
}

ROWS = pa.schema([f.with_type(_IN_MEMORY.get(f.name, f.type)) for f in (*LIGHT, *PAYLOAD)])
"""In memory, what many spans share (resources, scopes, the keys of attributes) is there once, as a dictionary."""

LIGHT_ROWS = pa.schema([ROWS.field(name) for name in LIGHT.names])
"""The columns of ``LIGHT`` as ``ROWS`` has them. A file has the same bytes of either."""

TRACES = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("trace_hi", pa.uint64(), nullable=False),  # first 8 bytes of the trace id, big-endian
        pa.field("trace_lo", pa.uint64(), nullable=False),  # last 8 bytes
        pa.field("first_row", pa.uint32(), nullable=False),  # in the light and payload objects
        pa.field("rows", pa.uint32(), nullable=False),
        pa.field("start_ns", pa.int64(), nullable=False),  # least start; received time where none has one
        pa.field("end_ns", pa.int64(), nullable=False),  # greatest end of spans with a start, see schema.traces.NO_END
        pa.field("spans", pa.int32(), nullable=False),  # signed: corrections are negative
        pa.field("errors", pa.int32(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cost_pico_usd", pa.int64(), nullable=False),  # of counted spans, like the tokens
        pa.field("unpriced", pa.int32(), nullable=False),  # counted spans that have tokens and no cost
        pa.field("running", pa.int32(), nullable=False),  # spans that have not ended, see Quality
        pa.field("received_ns", pa.int64(), nullable=False),  # the latest
        pa.field("has_root", pa.bool_(), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # the root's, else the earliest span's
        pa.field("named_ns", pa.int64(), nullable=False),  # start of the same span: the earliest one's name counts
        pa.field("service", pa.string()),  # of the same span
        pa.field("session_id", pa.string()),  # the root's, else the first that is named
        pa.field("session_rank", pa.int64(), nullable=False),  # of several rows the least counts, see schema.traces
        pa.field("user_id", pa.string()),
        pa.field("user_rank", pa.int64(), nullable=False),
    ]
)

CONTEXTS = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("trace_hi", pa.uint64(), nullable=False),
        pa.field("trace_lo", pa.uint64(), nullable=False),
        pa.field("span", pa.uint64(), nullable=False),  # the span id as a number
        pa.field("agent", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("ref", pa.uint64(), nullable=False),  # where to seek on, see context_ref; 0 is nowhere
        pa.field("seekers", pa.int32(), nullable=False),  # rows and contexts, at most, that refer to the span
        pa.field("ended", pa.bool_(), nullable=False),  # what it says while it runs, its last version may not
    ]
)
"""What spans that rows written before refer to by ``context_ref`` say to those: their own context."""

FLIPS = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("trace_hi", pa.uint64(), nullable=False),
        pa.field("trace_lo", pa.uint64(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),  # of the row, which these three name
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("window", pa.int64(), nullable=False),  # that the row belongs to: the flip expires with it
        pa.field("turns", pa.bool_(), nullable=False),  # "counted" is the other way round
        pa.field("input_tokens", pa.int64(), nullable=False),  # what that adds to sums, signed, like the rest
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cost_pico_usd", pa.int64(), nullable=False),
        pa.field("unpriced", pa.int32(), nullable=False),
    ]
)
"""Rows written before whose ``counted`` later arrivals turned, and back: of an even number of flips none is seen."""

LOGS = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("event_name", pa.string()),
        pa.field("time_ns", pa.int64()),  # since the epoch: when it happened, or was observed; null without both
        pa.field("session_id", pa.string()),  # gen_ai.conversation.id, session.id
        pa.field("response_id", pa.string()),  # gen_ai.response.id
        # Of evaluation results; null for all else. See ``SCORES``.
        pa.field("score_name", pa.string()),
        pa.field("score_value", pa.float64()),
        pa.field("score_label", pa.string()),
        pa.field("score_explanation", pa.string()),
        pa.field("score_source", pa.string()),
        pa.field("score_id", pa.string()),
        pa.field("record", pa.binary(), nullable=False),  # opentelemetry.proto.logs.v1.LogRecord
        pa.field("resource", pa.binary()),
        pa.field("resource_schema_url", pa.binary()),
        pa.field("scope_message", pa.binary()),
        pa.field("scope_schema_url", pa.binary()),
        pa.field("received_ns", pa.int64(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
    ]
)

LOG_TRACES = pa.schema(
    [
        pa.field("trace_hi", pa.uint64(), nullable=False),  # both 0 for records of no trace
        pa.field("trace_lo", pa.uint64(), nullable=False),
        pa.field("first_row", pa.uint32(), nullable=False),
        pa.field("rows", pa.uint32(), nullable=False),
    ]
)
"""Which rows of a file of log records belong to a trace: the rows of its traces object."""

SCORES = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),  # null where the score is the trace's, or the session's
        pa.field("session_id", pa.string()),
        pa.field("response_id", pa.string()),  # of the call that was judged
        pa.field("name", pa.string(), nullable=False),  # gen_ai.evaluation.name
        pa.field("value", pa.float64()),  # gen_ai.evaluation.score.value; true is 1, false is 0
        pa.field("label", pa.string()),  # gen_ai.evaluation.score.label
        pa.field("explanation", pa.string()),  # gen_ai.evaluation.explanation, its beginning
        pa.field("source", pa.string()),  # who judged: agenttrace.score.source, else the scope, else the service
        pa.field("id", pa.string()),  # agenttrace.score.id
        pa.field("time_ns", pa.int64(), nullable=False),  # of the event; of its receipt where it says none
        pa.field("received_ns", pa.int64(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
    ]
)
"""Evaluation results: the rows of the scores object of a file of log records, where it has any."""

LOCATION = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # a segment file's id, or a live chunk's
        pa.field("row", pa.int64(), nullable=False),
    ]
)
"""Where a row is. Appended to ``LIGHT`` wherever versions of a span are told apart."""

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
"""OTel SpanKind by enum number."""

STATUSES = ("unset", "ok", "error")
"""OTel Status.StatusCode by enum number."""
