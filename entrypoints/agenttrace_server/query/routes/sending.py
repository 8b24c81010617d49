"""``POST /api/v1/traces``, for senders without OpenTelemetry, and ``/api/v1/receipts`` for all."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from agenttrace_core.errors import UnsupportedMediaError
from agenttrace_core.wire.status import Encoding, traces_response
from agenttrace_server.ingestion.bodies import BodyReader, content_length
from agenttrace_server.query import models, render
from agenttrace_server.query.parameters import Caller
from agenttrace_server.query.sending import send
from agenttrace_server.query.services import ApiServices


def router(services: ApiServices, bodies: BodyReader) -> APIRouter:
    """Return the routes; ``bodies`` bounds what is read of a request."""
    routes = APIRouter(prefix="/api/v1", tags=["sending"])

    @routes.post("/traces", response_model=models.Sent)
    async def send_traces(caller: Caller, request: Request) -> Response:
        """Store an OTLP request (JSON or protobuf) or a simple JSON trace, and answer once it is durable."""
        encoding = _encoding(request)
        length = content_length(request.headers.get("content-length", "").encode() or None)
        coding = request.headers.get("content-encoding", "").strip().lower()
        body = await bodies.read(request.receive, length, coding)
        sent = await send(services.ingest, caller, body, encoding)
        headers = {"agenttrace-receipt": sent.ingested.receipt_id}
        if encoding is Encoding.JSON:
            return Response(render.sent(sent), media_type="application/json", headers=headers)
        answer = traces_response(encoding, rejected=sent.ingested.rejected, reason=sent.ingested.reason)
        return Response(answer, media_type=str(encoding), headers=headers)

    @routes.get("/receipts/{receipt_id}", response_model=models.Receipt)
    async def get_receipt(caller: Caller, receipt_id: str) -> Response:
        """What has become of a request that was acknowledged with header ``agenttrace-receipt``."""
        return JSONResponse(render.receipt(receipt_id, await services.read.receipt(caller, receipt_id)))

    return routes


def _encoding(request: Request) -> Encoding:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    try:
        return Encoding(media_type)
    except ValueError as error:
        raise UnsupportedMediaError(
            f"content-type {media_type[:80]!r} is not taken here; send application/json or application/x-protobuf"
        ) from error
