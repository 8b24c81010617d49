"""How each failure is told: as a status, and a body with a kind and a message."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from agenttrace_core.errors import AgentTraceError
from agenttrace_server.ingestion.bodies import ClientGoneError
from agenttrace_server.ingestion.outcomes import outcome_of
from agenttrace_server.query import models, render

RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": models.Error, "description": "A field is wrong; the message names it"},
    401: {"model": models.Error, "description": "A key is needed, or not known"},
    404: {"model": models.Error, "description": "The project has nothing by that id"},
    409: {"model": models.Error, "description": "What was sent is archived; a restore is under way"},
    422: {"model": models.Error, "description": "The answer would exceed a limit; the message names it"},
    429: {"model": models.Error, "description": "Try again after Retry-After"},
    501: {"model": models.Error, "description": "The span index of this server cannot answer this"},
    503: {"model": models.Error, "description": "A backend does not answer; try again"},
}
"""What OpenAPI says of the failures of every route but those of health."""


def install(app: FastAPI) -> None:
    """Make ``app`` tell its failures so."""
    app.add_exception_handler(AgentTraceError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_parameter)
    app.add_exception_handler(HTTPException, _on_wrong_path)
    app.add_exception_handler(Exception, _on_defect)


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
    message = "internal error: the server's log says more"
    return JSONResponse({"error": {"kind": "internal", "message": message}}, status_code=500)
