"""How each error is told to a sender: as an HTTP status, and as a canonical code of gRPC.

OTLP/HTTP names 429, 502, 503 and 504 as the statuses after which a sender tries again, and
gRPC's ``RESOURCE_EXHAUSTED`` only with ``RetryInfo``:
https://opentelemetry.io/docs/specs/otlp/#failures
"""

from __future__ import annotations

from dataclasses import dataclass

from agenttrace_core.errors import (
    AgentTraceError,
    ArchivedError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
    UnsupportedMediaError,
)
from agenttrace_core.wire.status import Code
from agenttrace_server.ingestion.bodies import BodyTimeoutError


class ForbiddenError(AgentTraceError):
    """The caller is a web page that must not send here."""

    kind = "forbidden"


class MethodNotAllowedError(AgentTraceError):
    """The path is served, but not by this method; ``allow`` names those that it is served by."""

    kind = "method_not_allowed"

    def __init__(self, path: str, method: str, allow: str) -> None:
        super().__init__(f"{path} takes {allow.partition(',')[0]}, not {method[:20]}")
        self.allow = allow


@dataclass(frozen=True, slots=True)
class Outcome:
    """``http`` is the status, ``code`` gRPC's. ``retry_after_s`` is None where a retry cannot help."""

    http: int
    code: Code
    retry_after_s: int | None = None


_OUTCOMES: tuple[tuple[type[AgentTraceError], Outcome], ...] = (
    (PayloadTooLargeError, Outcome(413, Code.INVALID_ARGUMENT)),
    (UnsupportedMediaError, Outcome(415, Code.INVALID_ARGUMENT)),
    (InvalidInputError, Outcome(400, Code.INVALID_ARGUMENT)),
    (BodyTimeoutError, Outcome(408, Code.DEADLINE_EXCEEDED)),
    (NotFoundError, Outcome(404, Code.NOT_FOUND)),
    (ForbiddenError, Outcome(403, Code.PERMISSION_DENIED)),
    (MethodNotAllowedError, Outcome(405, Code.UNIMPLEMENTED)),
    (LimitExceededError, Outcome(422, Code.INVALID_ARGUMENT)),
    (UnsupportedError, Outcome(501, Code.UNIMPLEMENTED)),
    (ArchivedError, Outcome(409, Code.FAILED_PRECONDITION)),
    (UnauthenticatedError, Outcome(401, Code.UNAUTHENTICATED)),
)
INTERNAL = Outcome(500, Code.INTERNAL)


def outcome_of(error: AgentTraceError) -> Outcome:
    """Return how ``error`` is told."""
    if isinstance(error, OverloadedError):
        return Outcome(429, Code.RESOURCE_EXHAUSTED, error.retry_after_s)
    if isinstance(error, UnavailableError):
        return Outcome(503, Code.UNAVAILABLE, error.retry_after_s)
    return next((outcome for kind, outcome in _OUTCOMES if isinstance(error, kind)), INTERNAL)
