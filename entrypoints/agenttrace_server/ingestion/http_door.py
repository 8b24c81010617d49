"""OTLP/HTTP: ``POST /v1/traces`` and ``/v1/logs``, as an ASGI application without a framework.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from agenttrace_core.errors import AgentTraceError, InvalidInputError, NotFoundError, UnsupportedMediaError
from agenttrace_core.ports.queue import Signal
from agenttrace_core.services.ingest import Ingested, IngestService
from agenttrace_core.wire.status import Encoding, error_status, logs_response, traces_response
from agenttrace_server.auth import FORWARDING, Authenticator
from agenttrace_server.hosts import HostGuard, OriginGuard
from agenttrace_server.ingestion.bodies import BodyReader, ClientGoneError, Receive, content_length, linger
from agenttrace_server.ingestion.config import DoorConfig
from agenttrace_server.ingestion.decompress import ENCODINGS
from agenttrace_server.ingestion.metrics import DoorMetrics
from agenttrace_server.ingestion.outcomes import (
    INTERNAL,
    ForbiddenError,
    MethodNotAllowedError,
    Outcome,
    outcome_of,
)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HttpApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_Headers = Mapping[bytes, bytes]

_log = logging.getLogger(__name__)

_SIGNALS = {
    "/v1/traces": Signal.TRACES,
    "/v1/logs": Signal.LOGS,
    # Where Langfuse's SDK sends OTLP to, whatever the server.
    "/api/public/otel/v1/traces": Signal.TRACES,
}
_RESPONSES = {Signal.TRACES: traces_response, Signal.LOGS: logs_response}
_ENCODINGS = {str(encoding).encode(): encoding for encoding in Encoding}
_FORWARDING = tuple(name.encode() for name in FORWARDING)
_LONGEST_ECHO = 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""


def make_otlp_app(
    service: IngestService,
    authenticator: Authenticator,
    config: DoorConfig,
    metrics: DoorMetrics,
    *,
    ready: Callable[[], bool] = lambda: True,
) -> HttpApp:
    """Return the ASGI application of the OTLP/HTTP port, which also answers for the process's health.

    Args:
        service: what requests are handed to.
        authenticator: finds the project of each.
        config: the bounds.
        metrics: counts the answers, and is shown at ``/metrics``.
        ready: says whether requests can be served now, for ``/readyz``.
    """
    return _OtlpApp(service, authenticator, config, metrics, ready)


class _OtlpApp:
    def __init__(
        self,
        service: IngestService,
        authenticator: Authenticator,
        config: DoorConfig,
        metrics: DoorMetrics,
        ready: Callable[[], bool],
    ) -> None:
        self._stores = {Signal.TRACES: service.traces, Signal.LOGS: service.logs}
        self._authenticator = authenticator
        self._hosts = HostGuard(config.bind_host, config.allowed_hosts)
        self._origins = OriginGuard(config.allowed_origins or None)
        self._bodies = BodyReader(config, service.admission)
        self._metrics = metrics
        self._ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: _Headers = dict(scope["headers"])
        source = _Source(receive)
        cors: list[tuple[bytes, bytes]] = []
        try:
            self._check_host(headers)
            cors = self._check_origin(headers)
            answer = await self._answer(scope, headers, source)
        except ClientGoneError:
            self._metrics.answered("http", 1)
            return
        except AgentTraceError as error:
            answer = self._refusal(error, headers)
        except Exception:  # noqa: BLE001 - the last handler: whatever failed, the sender is told
            _log.exception("a request failed")
            answer = self._tell(INTERNAL, "the server failed; its log says why", headers)
        await _send(answer, cors, send, source, has_body=_has_body(headers))

    async def _answer(self, scope: Scope, headers: _Headers, source: _Source) -> _Answer:
        path, method = scope["path"], scope["method"]
        signal = _SIGNALS.get(path)
        if signal is None:
            return self._health(path, method)
        if method == "OPTIONS":
            return _preflight(headers)
        if method != "POST":
            raise MethodNotAllowedError(path, method, "POST, OPTIONS")
        client = scope["client"]
        principal = self._authenticator.principal(
            _text(headers.get(b"authorization")),
            client[0] if client else None,
            forwarded=any(name in headers for name in _FORWARDING),
        )
        encoding = _encoding(headers)
        coding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        body = await self._bodies.read(source, content_length(headers.get(b"content-length")), coding)
        ingested = await self._stores[signal](principal, body, encoding)
        self._metrics.answered("http", 0)
        return _acknowledgement(signal, encoding, ingested)

    def _check_host(self, headers: _Headers) -> None:
        host = headers.get(b"host")
        if host is None:
            raise InvalidInputError("the Host header is missing")
        if not self._hosts.allows(host.decode("latin-1")):
            raise ForbiddenError(
                f"this server is not known as {host.decode('latin-1')[:100]!r}; if it should be, add that name to "
                "allowed_hosts"
            )

    def _check_origin(self, headers: _Headers) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a page of an allowed origin read the answer."""
        origin = headers.get(b"origin")
        if origin is None:
            return []
        if not self._origins.allows(origin.decode("latin-1")):
            raise ForbiddenError(
                f"pages of {origin.decode('latin-1')[:100]!r} may not send here; if they should, add that origin to "
                "ingest.allowed_origins"
            )
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"agenttrace-receipt, retry-after"),
            (b"vary", b"origin"),
        ]

    def _health(self, path: str, method: str) -> _Answer:
        if path == "/v1/metrics":
            raise NotFoundError(
                "AgentTrace keeps traces and GenAI events, not metrics: set OTEL_METRICS_EXPORTER=none at the sender"
            )
        if path not in {"/healthz", "/readyz", "/metrics"}:
            raise NotFoundError("this port takes OTLP: POST /v1/traces or /v1/logs")
        if method not in {"GET", "HEAD"}:
            raise MethodNotAllowedError(path, method, "GET, HEAD")
        if path == "/metrics":
            return _plain(200, self._metrics.exposition(), b"text/plain; version=0.0.4; charset=utf-8")
        if path == "/readyz" and not self._ready():
            return _plain(503, b"not ready\n")
        return _plain(200, b"ok\n")

    def _refusal(self, error: AgentTraceError, headers: _Headers) -> _Answer:
        answer = self._tell(outcome_of(error), str(error), headers)
        if isinstance(error, MethodNotAllowedError):
            answer.headers.append((b"allow", error.allow.encode()))
        elif answer.status == 401:
            answer.headers.append((b"www-authenticate", b"Bearer"))
        elif isinstance(error, UnsupportedMediaError):
            answer.headers.append((b"accept-encoding", ", ".join(ENCODINGS).encode()))
        return answer

    def _tell(self, outcome: Outcome, message: str, headers: _Headers) -> _Answer:
        self._metrics.answered("http", outcome.code)
        # Whoever sent neither encoding is a person, and JSON can be read.
        encoding = _ENCODINGS.get(_media_type(headers), Encoding.JSON)
        body = error_status(encoding, outcome.code, message, retry_after_s=outcome.retry_after_s)
        answer = _Answer(outcome.http, [(b"content-type", str(encoding).encode())], body)
        if outcome.retry_after_s is not None:
            answer.headers.append((b"retry-after", str(outcome.retry_after_s).encode()))
        return answer


class _Source:
    """The ASGI ``receive`` of one request, which remembers whether its body has ended."""

    __slots__ = ("_receive", "ended")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self.ended = not message.get("more_body", False)
        return message


async def _send(
    answer: _Answer, cors: list[tuple[bytes, bytes]], send: Send, source: _Source, *, has_body: bool
) -> None:
    headers = [*answer.headers, *cors]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    unread = has_body and not source.ended
    if unread:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": unread})
    if unread:
        await linger(source)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _acknowledgement(signal: Signal, encoding: Encoding, ingested: Ingested) -> _Answer:
    body = _RESPONSES[signal](encoding, rejected=ingested.rejected, reason=ingested.reason)
    return _Answer(
        200,
        [(b"content-type", str(encoding).encode()), (b"agenttrace-receipt", ingested.receipt_id.encode())],
        body,
    )


def _preflight(headers: _Headers) -> _Answer:
    answer = _Answer(204, [(b"allow", b"POST, OPTIONS")])
    if b"origin" in headers and b"access-control-request-method" in headers:
        wanted = headers.get(b"access-control-request-headers", b"")[:_LONGEST_ECHO]
        answer.headers.extend(
            [
                (b"access-control-allow-methods", b"POST"),
                (b"access-control-allow-headers", wanted or b"content-type"),
                (b"access-control-max-age", b"600"),
            ]
        )
    return answer


def _encoding(headers: _Headers) -> Encoding:
    media_type = _media_type(headers)
    encoding = _ENCODINGS.get(media_type)
    if encoding is None:
        raise UnsupportedMediaError(
            f"content-type {media_type.decode('latin-1')[:80]!r} is not taken here; send application/x-protobuf or "
            "application/json"
        )
    return encoding


def _media_type(headers: _Headers) -> bytes:
    value = headers.get(b"content-type", b"")
    if value in _ENCODINGS:
        return value
    return value.partition(b";")[0].strip().lower()


def _has_body(headers: _Headers) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _plain(code: int, body: bytes, media_type: bytes = b"text/plain; charset=utf-8") -> _Answer:
    return _Answer(code, [(b"content-type", media_type)], body)
