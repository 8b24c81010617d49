"""Answers as JSON, from columns: no model object is made a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa

from agenttrace_core.errors import AgentTraceError, QueryError
from agenttrace_core.model.algebra import Measure
from agenttrace_core.model.trace import AsOf, TraceSummary
from agenttrace_core.ports.catalog import DeadLetter
from agenttrace_core.query.fields import NAMES
from agenttrace_core.services.complete import Completion
from agenttrace_core.services.entities import EntityDetail
from agenttrace_core.services.ingest import Ingested
from agenttrace_core.services.log_events import LogEvent
from agenttrace_core.services.read import ReceiptState
from agenttrace_core.services.span_detail import SpanDetail
from agenttrace_core.services.trace_views import TracePage
from agenttrace_core.wire import json_text
from agenttrace_server.query.formats import lag, money, plain_rows
from agenttrace_server.query.sending import Sent
from agenttrace_server.query.tables import LIGHT_FIELDS, light_table, quality, score_table

CONTENT_FIELDS = (
    "input_messages", "output_messages", "system_instructions", "tool_definitions", "input", "output",
)  # fmt: skip
"""What was said in a span, of ``SpanContent`` by the same names."""

_MONEY = frozenset({"cost_usd", "given_cost_usd"})


def trace_page(page: TracePage) -> bytes:
    """``GET /api/v1/traces/{trace_id}``."""
    return orjson.dumps(
        {
            "trace_id": page.summary.trace_id,
            "summary": {**summary(page.summary, page.as_of), **asdict(page.detail)},
            "spans": light_rows(page.spans),
            "scores": plain_rows(score_table(page.scores)),
            "matched": page.matched,
            "next_cursor": page.next_cursor,
            **lag(page.lag),
        }
    )


def span_page(page: TracePage) -> bytes:
    """``GET /api/v1/traces/{trace_id}/spans``."""
    return orjson.dumps(
        {
            "trace_id": page.summary.trace_id,
            "spans": light_rows(page.spans),
            "matched": page.matched,
            "next_cursor": page.next_cursor,
            **lag(page.lag),
        }
    )


def light_rows(spans: pa.Table) -> list[dict[str, Any]]:
    """Rows of a trace, or of many (then with the trace's id in place of ``orphan``)."""
    return plain_rows(light_table(spans))


def completion(found: Completion) -> bytes:
    """``GET /api/v1/complete``."""
    return orjson.dumps(asdict(found))


def entity_page(found: EntityDetail, as_of: AsOf, scores: pa.Table | None) -> bytes:
    """``GET /api/v1/sessions/{id}`` and the like."""
    figures = {
        name.value: money(value) if isinstance(value, Decimal) else value
        for name, value in found.entity.figures.items()
    }
    if figures["unpriced"] and not found.entity.figures[Measure.COST_USD]:
        figures["cost_usd"] = None  # not known, which is not zero
    return json_text.dumps(
        {
            "item": {"id": found.entity.id, **figures},
            "traces": [summary(item, as_of) for item in found.traces],
            "scores": None if scores is None else plain_rows(score_table(scores)),
            "next_cursor": found.next_cursor,
            **lag(found.lag),
        }
    )


def span_details(found: Sequence[SpanDetail]) -> bytes:
    """``GET /api/v1/traces/{trace_id}/spans/{span_id}``: the first, and the others that share its id."""
    first, *others = [_span_detail(detail) for detail in found]
    return json_text.dumps({**first, "others": others})


def receipt(receipt_id: str, state: ReceiptState) -> dict[str, Any]:
    """``GET /api/v1/receipts/{id}``."""
    given = state.receipt
    return {
        "id": receipt_id,
        "signal": given.signal,
        "received_ns": given.received_ns,
        "accepted": given.accepted,
        "rejected": given.rejected,
        "reason": given.reason,
        "stored": given.accepted > 0,
        "readable": given.accepted > 0 and state.readable,
        "in_files": given.accepted > 0 and state.in_files,
    }


def sent(given: Sent) -> bytes:
    """``POST /api/v1/traces``. ``partialSuccess`` is what OTLP clients look for."""
    ingested = given.ingested
    body: dict[str, Any] = {
        "receipt": ingested.receipt_id,
        "accepted": ingested.accepted,
        "rejected": ingested.rejected,
        "reason": ingested.reason,
        "trace_ids": given.trace_ids,
    }
    if ingested.rejected:
        body["partialSuccess"] = {"rejectedSpans": str(ingested.rejected), "errorMessage": ingested.reason}
    return json_text.dumps(body)


def scores_sent(given: Ingested) -> bytes:
    """``POST /api/v1/scores``."""
    return orjson.dumps(
        {
            "receipt": given.receipt_id,
            "accepted": given.accepted,
            "rejected": given.rejected,
            "reason": given.reason,
        }
    )


def letter(given: DeadLetter) -> dict[str, Any]:
    """One item of ``GET /api/v1/dead-letters``."""
    return {
        "id": given.id,
        "signal": given.signal,
        "received_ns": given.received_ns,
        "reason": given.reason,
        "spans": given.spans,
        "bytes": None if given.object is None else given.object.size,
    }


def summary(given: TraceSummary, as_of: AsOf) -> dict[str, Any]:
    """What a list says of a trace."""
    told = asdict(given)
    del told["cost_pico_usd"]
    state = given.state(as_of).value
    return {
        **told,
        "cost_usd": money(given.cost_usd),
        "duration_ns": given.duration_ns,
        "status": given.status,
        "state": state,
    }


def error_body(error: AgentTraceError) -> bytes:
    """The body of every answer that is no success."""
    told: dict[str, Any] = {"kind": error.kind, "message": str(error)}
    if isinstance(error, QueryError):
        told |= {"problem": error.problem, "position": error.position, "fields": list(NAMES)}
    return json_text.dumps({"error": told})


def _span_detail(detail: SpanDetail) -> dict[str, Any]:
    light, span = detail.light, detail.span
    return {
        "trace_id": light["trace_id"],
        **{name: money(light[name]) if name in _MONEY else light[name] for name in LIGHT_FIELDS},
        "end_ns": _number(span.get("endTimeUnixNano")) or None,
        "received_ns": light["received_ns"],
        "quality": quality(light["quality"]),
        **{name: getattr(detail.content, name) for name in CONTENT_FIELDS},
        "trace_state": span.get("traceState", ""),
        "flags": _number(span.get("flags")),
        "attributes": span.get("attributes", []),
        "dropped_attributes_count": _number(span.get("droppedAttributesCount")),
        "events": [_event(event) for event in span.get("events", ())],
        "dropped_events_count": _number(span.get("droppedEventsCount")),
        "log_events": [_log_event(event) for event in detail.events],
        "scores": plain_rows(score_table(detail.scores)),
        "links": [_link(link) for link in span.get("links", ())],
        "dropped_links_count": _number(span.get("droppedLinksCount")),
        "resource": _described(detail.resource, detail.resource_schema_url),
        "instrumentation_scope": {
            "name": detail.scope.get("name", ""),
            "version": detail.scope.get("version", ""),
            **_described(detail.scope, detail.scope_schema_url),
        },
    }


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "time_ns": _number(event.get("timeUnixNano")),
        "name": event.get("name", ""),
        "attributes": event.get("attributes", []),
        "dropped_attributes_count": _number(event.get("droppedAttributesCount")),
    }


def _log_event(event: LogEvent) -> dict[str, Any]:
    record = event.record
    return {
        "time_ns": event.time_ns,
        "name": event.name,
        "scope": event.scope,
        "severity_text": record.get("severityText", ""),
        "body": record.get("body"),
        "attributes": record.get("attributes", []),
        "dropped_attributes_count": _number(record.get("droppedAttributesCount")),
    }


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": link.get("traceId", ""),
        "span_id": link.get("spanId", ""),
        "trace_state": link.get("traceState", ""),
        "flags": _number(link.get("flags")),
        "attributes": link.get("attributes", []),
        "dropped_attributes_count": _number(link.get("droppedAttributesCount")),
    }


def _described(given: Mapping[str, Any], schema_url: str) -> dict[str, Any]:
    return {
        "attributes": given.get("attributes", []),
        "dropped_attributes_count": _number(given.get("droppedAttributesCount")),
        "schema_url": schema_url,
    }


def _number(given: Any) -> int:
    return int(given or 0)
