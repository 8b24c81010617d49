"""What a door checks before it promises anything: is this a request, and can its spans be stored?

A request that does not parse is refused whole. A span is refused only where it could not be
found again: an id of the wrong length, or all zero. Everything else is stored, and flagged
when it becomes columns.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from agenttrace_core.wire import columns, otlp

_Request = otlp.message_class("Request")


@dataclass(frozen=True, slots=True)
class CheckedTraces:
    """A parsed request, parted into what can be stored and what cannot.

    ``body`` is what to append: the request as it was received, or made anew without the refused
    spans, or empty if none is left. ``reason`` is empty where nothing was refused.
    ``refused_body`` is an ``ExportTraceServiceRequest`` of the refused spans, or empty.
    """

    body: bytes
    accepted: int
    rejected: int
    reason: str = ""
    refused_body: bytes = b""


def check_traces(body: bytes) -> CheckedTraces:
    """Check an ``ExportTraceServiceRequest`` in protobuf.

    Raises:
        InvalidInputError: it does not parse, down to the last attribute of its spans.
    """
    try:
        # Not kept: while it is alive, its memory cannot serve what follows, and is mapped anew each time.
        _Request.FromString(body)
    except DecodeError as error:
        raise InvalidInputError(f"the body is not an OTLP ExportTraceServiceRequest in protobuf: {error}") from error
    trace_ids, span_ids = columns.decode_ids(body)
    if bool((columns.usable(trace_ids, TRACE_ID_BYTES) & columns.usable(span_ids, SPAN_ID_BYTES)).all()):
        return CheckedTraces(body, accepted=len(trace_ids), rejected=0)
    return _without_refused(_Request.FromString(body), total=len(trace_ids))


def _without_refused(request: Any, total: int) -> CheckedTraces:
    """Part a request that holds at least one span that cannot be stored. The slow way: a bad sender pays."""
    reasons: Counter[str] = Counter()
    refused = _Request()
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            why = [_why_refused(span) for span in scope_spans.spans]
            if not any(why):
                continue
            reasons.update(filter(None, why))
            _copy_envelope(refused, resource_spans, scope_spans).extend(
                span for span, reason in zip(scope_spans.spans, why, strict=True) if reason
            )
            kept = [span for span, reason in zip(scope_spans.spans, why, strict=True) if not reason]
            del scope_spans.spans[:]
            scope_spans.spans.extend(kept)
    rejected = reasons.total()
    accepted = total - rejected
    return CheckedTraces(
        body=request.SerializeToString() if accepted else b"",
        accepted=accepted,
        rejected=rejected,
        reason=f"{rejected} of {total} spans refused: "
        + "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common()),
        refused_body=refused.SerializeToString(),
    )


def _copy_envelope(refused: Any, resource_spans: Any, scope_spans: Any) -> Any:
    copy = refused.resource_spans.add(schema_url=resource_spans.schema_url)
    if resource_spans.HasField("resource"):
        copy.resource.CopyFrom(resource_spans.resource)
    copy_scope = copy.scope_spans.add(schema_url=scope_spans.schema_url)
    if scope_spans.HasField("scope"):
        copy_scope.scope.CopyFrom(scope_spans.scope)
    return copy_scope.spans


def _why_refused(span: Any) -> str:
    return _why_bad_id("trace_id", span.trace_id, TRACE_ID_BYTES) or _why_bad_id("span_id", span.span_id, SPAN_ID_BYTES)


def _why_bad_id(field: str, value: bytes, size: int) -> str:
    if len(value) != size:
        return f"{field} has {len(value)} bytes, {size} are wanted"
    return "" if any(value) else f"{field} is all zeros"
