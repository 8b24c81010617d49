"""The door of the API port: which names, pages and keys come in, and what is counted of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from agenttrace_core.errors import AgentTraceError, InvalidInputError
from agenttrace_core.model.principal import Principal
from agenttrace_server.auth import FORWARDING, Authenticator
from agenttrace_server.hosts import HostGuard, OriginGuard
from agenttrace_server.ingestion.outcomes import ForbiddenError, outcome_of
from agenttrace_server.query.render import error_body

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PRINCIPAL = "agenttrace.principal"
"""Where the guard puts the ``Principal`` of a request in its ASGI scope."""

_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
_FORWARDING = tuple(name.encode() for name in FORWARDING)
_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class ApiMetrics:
    """The API's figures, in a registry of its own. Labels are routes, never the paths that clients choose."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "agenttrace_query_requests_total", "Requests answered", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "agenttrace_query_seconds", "Time until an answer began", ("route",),
            registry=self._registry, buckets=_BUCKETS,
        )  # fmt: skip

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._answers.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def exposition(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        return generate_latest(self._registry)


class Guard:
    """An ASGI application around another, which only sees requests that may come in.

    Args:
        app: the application within. It finds the caller under ``PRINCIPAL``.
        authenticator: finds the caller.
        hosts: the names under which this port may be called.
        metrics: counts the answers.
    """

    def __init__(self, app: App, authenticator: Authenticator, hosts: HostGuard, metrics: ApiMetrics) -> None:
        self.app = app
        self._authenticator = authenticator
        self._hosts = hosts
        self._origins = OriginGuard()
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything that is not HTTP is passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.answered(route, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            self._admit(scope)
        except AgentTraceError as error:
            await _refuse(error, counted)
            return
        await self.app(scope, receive, counted)

    def _admit(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not host:
            raise InvalidInputError("the Host header is missing")
        if not self._hosts.allows(host):
            raise ForbiddenError(
                f"this server is not known as {host[:100]!r}; if it should be, add that name to allowed_hosts"
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin.partition("://")[2].lower() != host.lower() and not self._origins.allows(origin):
            raise ForbiddenError(f"pages of {origin[:100]!r} may not ask here")
        if scope["path"] not in _OPEN_PATHS:
            scope[PRINCIPAL] = self._principal(scope, headers)

    def _principal(self, scope: Scope, headers: dict[bytes, bytes]) -> Principal:
        authorization = headers.get(b"authorization")
        client = scope["client"]
        return self._authenticator.principal(
            None if authorization is None else authorization.decode("latin-1"),
            client[0] if client else None,
            forwarded=any(name in headers for name in _FORWARDING),
        )


async def _refuse(error: AgentTraceError, send: Send) -> None:
    body = error_body(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.kind == "unauthenticated":
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": outcome_of(error).http, "headers": headers})
    await send({"type": "http.response.body", "body": body})
