"""One span with everything that was sent of it, what was said in it, and the media in that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_core.errors import NotFoundError
from agenttrace_core.messages.content import SpanContent, span_blob, span_content
from agenttrace_core.messages.media import Blob, MediaId
from agenttrace_core.model.score import ScoreSelection
from agenttrace_core.normalise.prices.pricing import Pricing
from agenttrace_core.ports.index import SpanIndex
from agenttrace_core.services.explain import Explanation, explain_rows
from agenttrace_core.services.known_traces import KnownTraces
from agenttrace_core.services.log_events import LogEvent, error_type_of, events_of_span
from agenttrace_core.services.otlp_pieces import located, span_messages
from agenttrace_core.services.queries import logs_of
from agenttrace_core.services.view import Seen
from agenttrace_core.wire.message import Json

_INLINE_BYTES = 128 << 10
"""Spans larger than that are read in a thread, so that nobody else has to wait."""


@dataclass(frozen=True, slots=True)
class SpanDetail:
    """All that is known of a span: ``light`` by ``SHOWN_COLUMNS``, what was sent as OTLP/JSON, and what was said."""

    light: Mapping[str, Any]
    span: Json
    resource: Json
    resource_schema_url: str
    scope: Json
    scope_schema_url: str
    content: SpanContent
    events: Sequence[LogEvent]
    scores: pa.Table


async def span_details(
    index: SpanIndex, traces: KnownTraces, seen: Seen, project: str, trace_id: str, span_id: str
) -> list[SpanDetail]:
    """Return all that is known of a span; more than one where senders used its id twice, in the trace's order.

    Raises:
        NotFoundError: the project has no such span.
    """
    rows = await traces.span_rows(seen, project, trace_id, span_id)
    payload = await index.payload(seen.view, located(rows))
    logs = logs_of(index)
    events = await events_of_span(logs, seen.view, project, trace_id, span_id)
    scores = await logs.scores(seen.view, project, ScoreSelection(trace_ids=(trace_id,)))
    scores = scores.filter(pc.equal(scores["span_id"], pa.scalar(span_id, pa.string())))
    given = (rows.to_pylist(), payload, events, scores)
    return _details(*given) if _is_small(payload) else await to_thread.run_sync(_details, *given)


async def span_explanations(
    index: SpanIndex, traces: KnownTraces, seen: Seen, project: str, trace_id: str, span_id: str, pricing: Pricing
) -> list[Explanation]:
    """Return why a span's canonical values are what they are; more than one where senders used its id twice.

    Raises:
        NotFoundError: the project has no such span.
    """
    rows = await traces.span_rows(seen, project, trace_id, span_id)
    payload = await index.payload(seen.view, located(rows))
    return await to_thread.run_sync(explain_rows, rows, payload, pricing)


async def span_media(index: SpanIndex, traces: KnownTraces, seen: Seen, project: str, media: MediaId) -> Blob:
    """Return the bytes that a reference in a span's messages stands for.

    Raises:
        NotFoundError: the project has no such span, or nothing in the span is what ``media`` names.
    """
    rows = await traces.span_rows(seen, project, media.trace_id, media.span_id)
    payload = await index.payload(seen.view, located(rows))
    events = await events_of_span(logs_of(index), seen.view, project, media.trace_id, media.span_id)
    find = (media.digest, payload, [event.record for event in events])
    blob = _blob(*find) if _is_small(payload) else await to_thread.run_sync(_blob, *find)
    if blob is None:
        raise NotFoundError(f"span {media.span_id} in trace {media.trace_id} holds no such media")
    return blob


def _details(
    light: list[dict[str, Any]], payload: pa.Table, events: Sequence[LogEvent], scores: pa.Table
) -> list[SpanDetail]:
    records = [event.record for event in events]
    failed = error_type_of(events)
    return [
        SpanDetail(
            {**row, "error_type": row["error_type"] or failed},
            *messages,
            span_content(messages[0], events=records),
            events,
            scores,
        )
        for row, messages in zip(light, span_messages(payload), strict=True)
    ]


def _blob(digest: bytes, payload: pa.Table, events: Sequence[Json]) -> Blob | None:
    found = (span_blob(span, digest, events=events) for span, *_ in span_messages(payload))
    return next((blob for blob in found if blob is not None), None)


def _is_small(payload: pa.Table) -> bool:
    return sum(column.nbytes for column in payload.columns) <= _INLINE_BYTES
