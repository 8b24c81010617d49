"""The API's routes. Each takes the caller that the guard found, and answers for that project alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import orjson
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from agenttrace_core.errors import AgentTraceError, UnsupportedMediaError
from agenttrace_core.model.principal import Principal
from agenttrace_core.services.ingest import IngestService
from agenttrace_core.services.letters import LetterService
from agenttrace_core.services.read import ReadService
from agenttrace_core.version import __version__
from agenttrace_core.wire import json_text
from agenttrace_core.wire.status import Encoding, traces_response
from agenttrace_server.auth import Authenticator
from agenttrace_server.hosts import HostGuard
from agenttrace_server.ingestion.bodies import BodyReader, ClientGoneError, content_length
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.outcomes import outcome_of
from agenttrace_server.query import models, render
from agenttrace_server.query.guard import PRINCIPAL, ApiMetrics, App, Guard
from agenttrace_server.query.page import page
from agenttrace_server.query.sending import Sent, send

_TAIL_POLL_S = 0.1
_TAIL_HEARTBEAT_S = 15.0

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": models.Error, "description": "A field is wrong; the message names it"},
    401: {"model": models.Error, "description": "A key is needed, or not known"},
    404: {"model": models.Error, "description": "The project has nothing by that id"},
    429: {"model": models.Error, "description": "Try again after Retry-After"},
    503: {"model": models.Error, "description": "A backend does not answer; try again"},
}


@dataclass(frozen=True, slots=True)
class ApiServices:
    """What the API is made of.

    ``parts`` says of each part of the server whether it serves, for ``/readyz``; ``figures`` adds
    to ``/metrics`` what other processes count; ``stopping`` ends what is streamed without end.
    """

    read: ReadService
    ingest: IngestService
    letters: LetterService
    parts: Callable[[], Awaitable[Mapping[str, bool]]]
    figures: Callable[[], bytes] = lambda: b""
    stopping: Callable[[], bool] = lambda: False


def make_api_app(services: ApiServices, authenticator: Authenticator, config: DoorConfig) -> App:
    """Return the ASGI application of the API port.

    Args:
        services: what answers.
        authenticator: finds the project of each request.
        config: the bounds on bodies, and the names of this port.
    """
    metrics = ApiMetrics()
    # FastAPI's own page loads its parts from the internet, and is blank without.
    app = FastAPI(title="AgentTrace", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(_reading(services), responses=_ERRORS)
    app.include_router(_sending(services, BodyReader(config, services.ingest.admission)), responses=_ERRORS)
    app.include_router(_letters(services), responses=_ERRORS)
    app.include_router(_health(services, metrics))
    app.add_api_route("/docs", _described(app), include_in_schema=False)
    app.add_exception_handler(AgentTraceError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_parameter)
    app.add_exception_handler(HTTPException, _on_wrong_path)
    app.add_exception_handler(Exception, _on_defect)
    return Guard(app, authenticator, HostGuard(config.bind_host, config.allowed_hosts), metrics)


async def _caller(request: Request) -> Principal:
    # Not async, it would be run in a thread.
    principal: Principal = request.scope[PRINCIPAL]
    return principal


Caller = Annotated[Principal, Depends(_caller)]
TraceId = Annotated[str, Path(description="32 hex digits")]
SpanId = Annotated[str, Path(description="16 hex digits")]
Cursor = Annotated[str | None, Query(description="next_cursor of the page before", max_length=4096)]


def _reading(services: ApiServices) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["traces"])
    read = services.read

    @router.get("/traces", response_model=models.TraceListing)
    async def list_traces(
        caller: Caller, limit: Annotated[int, Query(ge=1, le=1000)] = 50, cursor: Cursor = None
    ) -> Response:
        """The project's traces, newest first."""
        return _json(render.trace_list(await read.traces(caller, limit=limit, cursor=cursor or None)))

    @router.get("/traces/{trace_id}", response_model=models.Trace)
    async def get_trace(
        caller: Caller,
        trace_id: TraceId,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        cursor: Cursor = None,
        format: Annotated[str | None, Query(pattern="^(light|otlp)$")] = None,  # noqa: A002 - the parameter's name
    ) -> Response:
        """A trace's spans in order; with ``format=otlp``, the whole trace as one OTLP/JSON request."""
        if format == "otlp":
            return StreamingResponse(await read.trace_otlp(caller, trace_id), media_type="application/json")
        return _json(render.trace_page(await read.trace(caller, trace_id, limit=limit, cursor=cursor or None)))

    @router.get("/traces/{trace_id}/spans/{span_id}", response_model=models.Span)
    async def get_span(caller: Caller, trace_id: TraceId, span_id: SpanId) -> Response:
        """Everything of a span."""
        return _json(render.span_details(await read.span(caller, trace_id, span_id)))

    @router.get("/receipts/{receipt_id}", response_model=models.Receipt)
    async def get_receipt(caller: Caller, receipt_id: str) -> Response:
        """What has become of a request that was acknowledged with header ``agenttrace-receipt``."""
        return JSONResponse(render.receipt(receipt_id, await read.receipt(caller, receipt_id)))

    @router.get("/export", response_class=StreamingResponse)
    async def export(caller: Caller) -> StreamingResponse:
        """All traces as OTLP/JSON requests, one trace a line, as of the moment of the request."""
        return StreamingResponse(read.export(caller), media_type="application/x-ndjson")

    @router.get("/tail", response_class=StreamingResponse)
    async def tail(caller: Caller) -> StreamingResponse:
        """Spans as they arrive, as server-sent events whose data are light rows with their trace's id."""
        return StreamingResponse(_events(services, caller), media_type="text/event-stream")

    return router


def _sending(services: ApiServices, bodies: BodyReader) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["traces"])

    @router.post("/traces", response_model=models.Sent)
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

    return router


def _letters(services: ApiServices) -> APIRouter:
    router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])
    letters = services.letters

    @router.get("", response_model=models.DeadLetters)
    async def list_letters(
        caller: Caller, limit: Annotated[int, Query(ge=1, le=1000)] = 50, cursor: Cursor = None
    ) -> Response:
        """What was refused, newest first, and why."""
        items, next_cursor = await letters.list(caller, limit=limit, before=cursor or None)
        return _json(json_text.dumps({"items": [render.letter(x) for x in items], "next_cursor": next_cursor}))

    @router.get("/{letter_id}", response_model=models.DeadLetter)
    async def get_letter(caller: Caller, letter_id: str) -> Response:
        """One of them."""
        return _json(json_text.dumps(render.letter(await letters.get(caller, letter_id))))

    @router.get("/{letter_id}/body", response_class=Response)
    async def get_letter_body(caller: Caller, letter_id: str) -> Response:
        """What was refused, as it came."""
        refused = await letters.body(caller, letter_id)
        return Response(refused.body, media_type=str(refused.encoding))

    @router.post("/{letter_id}/replay", response_model=models.Sent)
    async def replay_letter(caller: Caller, letter_id: str) -> Response:
        """Send it again. What is accepted now is no dead letter any more."""
        return _json(render.sent(Sent(await letters.replay(caller, letter_id))))

    @router.delete("/{letter_id}", status_code=204)
    async def drop_letter(caller: Caller, letter_id: str) -> Response:
        """Forget it for good."""
        await letters.drop(caller, letter_id)
        return Response(status_code=204)

    return router


def _health(services: ApiServices, metrics: ApiMetrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> PlainTextResponse:
        """Whether this process answers."""
        return PlainTextResponse("ok\n")

    @router.get("/readyz", response_model=models.Health, responses={503: {"model": models.Health}})
    async def readyz() -> Response:
        """Whether all parts of the server serve."""
        parts = dict(await services.parts())
        ready = all(parts.values()) and not services.stopping()
        body = {"status": "ready" if ready else "not ready", "parts": parts}
        return JSONResponse(body, status_code=200 if ready else 503)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def figures() -> Response:
        """The figures of all processes of the server, in Prometheus' text format."""
        lag = (await services.read.view()).lag
        own = f"# TYPE agenttrace_query_lag_bytes gauge\nagenttrace_query_lag_bytes {lag.lag_bytes or 0}\n"
        body = metrics.exposition() + own.encode() + services.figures()
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _described(app: FastAPI) -> Callable[[], Awaitable[Response]]:
    async def docs() -> Response:
        return HTMLResponse(page(app.openapi()))

    return docs


async def _events(services: ApiServices, caller: Principal) -> AsyncIterator[bytes]:
    place = await services.read.tail_from()
    yield b": spans as they arrive\n\n"
    quiet_s = 0.0
    while not services.stopping():
        rows, place = await services.read.arrived(caller, place)
        for row in render.light_rows(rows):
            yield b"event: span\ndata: " + orjson.dumps(row) + b"\n\n"
        quiet_s = 0.0 if len(rows) else quiet_s + _TAIL_POLL_S
        if quiet_s >= _TAIL_HEARTBEAT_S:
            yield b": still here\n\n"
            quiet_s = 0.0
        await anyio.sleep(_TAIL_POLL_S)


def _encoding(request: Request) -> Encoding:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    try:
        return Encoding(media_type)
    except ValueError as error:
        raise UnsupportedMediaError(
            f"content-type {media_type[:80]!r} is not taken here; send application/json or application/x-protobuf"
        ) from error


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AgentTraceError)
    if isinstance(error, ClientGoneError):
        return Response(status_code=400)
    outcome = outcome_of(error)
    headers = {} if outcome.retry_after_s is None else {"retry-after": str(outcome.retry_after_s)}
    return Response(render.error_body(error), outcome.http, headers, media_type="application/json")


async def _on_wrong_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    message = f"{first['loc'][-1]}: {first['msg']}"
    return JSONResponse({"error": {"kind": "invalid_input", "message": message}}, status_code=400)


async def _on_wrong_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "error")
    message = f"{request.method} {request.url.path[:200]}: {error.detail}; the API is described at /docs"
    return JSONResponse({"error": {"kind": kind, "message": message}}, error.status_code, dict(error.headers or {}))


async def _on_defect(_: Request, __: Exception) -> Response:
    # The exception itself goes to the log; it may hold what is no caller's to see.
    message = "a defect in the server, which its log tells more of"
    return JSONResponse({"error": {"kind": "internal", "message": message}}, status_code=500)
