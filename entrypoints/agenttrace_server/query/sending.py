"""What ``POST /api/v1/traces`` takes: an OTLP request in either encoding, or the simple JSON form."""

from __future__ import annotations

from dataclasses import dataclass

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.principal import Principal
from agenttrace_core.services.ingest import Ingested, IngestService, LeftOut
from agenttrace_core.wire import json_text
from agenttrace_core.wire.json_read import JsonTraces
from agenttrace_core.wire.simple import Form, read_simple, sniff
from agenttrace_core.wire.status import Encoding

_OTLP_HEAD_BYTES = 4096
_REASONS_TOLD = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """An acknowledgement, and the ids of the traces that a simple request is part of."""

    ingested: Ingested
    trace_ids: tuple[str, ...] = ()


async def send(ingest: IngestService, caller: Principal, body: bytes, encoding: Encoding) -> Sent:
    """Store a request, and return once it is durable.

    Raises:
        InvalidInputError: it cannot be read at all, or is simple and nothing of it can be stored.
        OverloadedError: there is no room now.
        UnavailableError: it could not be made durable.
    """
    # A request that says so in its first bytes is OTLP, and need not be read twice.
    if encoding is Encoding.PROTOBUF or b'"resourceSpans"' in body[:_OTLP_HEAD_BYTES]:
        return Sent(await ingest.traces(caller, body, encoding))
    simple = await ingest.read(_read_simple, body)
    if simple is None:
        return Sent(await ingest.traces(caller, body, encoding))
    reason = "; ".join(refusal.reason for refusal in simple.refused[:_REASONS_TOLD])
    if not simple.spans:
        raise InvalidInputError(reason or "there is no span in the body")
    left_out = LeftOut(len(simple.refused), reason)
    return Sent(await ingest.traces(caller, simple.body, left_out=left_out), simple.trace_ids)


def _read_simple(body: bytes) -> JsonTraces | None:
    document = json_text.loads(body)
    return None if sniff(document) is Form.OTLP else read_simple(document)
