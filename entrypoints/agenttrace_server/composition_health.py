"""The port on which the parts that serve nobody say how they are: `/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from agenttrace_server.composition_meter import figures
from agenttrace_server.composition_place import Place
from agenttrace_server.hosts import HostGuard
from agenttrace_server.settings import Settings

_FIGURES_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def health_port(settings: Settings, place: Place, ready: Callable[[], bool]) -> AsyncGenerator[None]:
    """Serve the port for the length of a block, where ``metrics.port`` is set and no supervisor looks after the part.

    Under ``agenttrace up`` the API's port tells of all parts.

    Args:
        settings: say where.
        place: where the part runs.
        ready: whether the part does its work.

    Raises:
        ConfigurationError: the address is not this machine's, or the port is taken.
    """
    host, port = settings.metrics.host, settings.metrics.port
    if port is None or place.supervised:
        yield
        return
    from agenttrace_server.ingestion.config import DoorConfig
    from agenttrace_server.ingestion.serve import HttpServer, http_config
    from agenttrace_server.supervisor_sockets import listen

    listener = await asyncio.to_thread(listen, "metrics.port", host, port)

    def exposition() -> bytes:
        return b"".join(own() for own in place.figures) if place.figures else figures(settings.data)

    app = HealthApp(HostGuard(host, settings.allowed_hosts), ready, exposition)
    server = HttpServer(http_config(app, DoorConfig(bind_host=host, max_connections=64, drain_s=1.0)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.until_started(serving)
        yield
    finally:
        server.should_exit = True
        await asyncio.shield(serving)


class HealthApp:
    """An ASGI application of three paths.

    Args:
        hosts: the names under which it may be called.
        ready: as of ``health_port``.
        exposition: returns the figures in Prometheus' text format.
    """

    def __init__(self, hosts: HostGuard, ready: Callable[[], bool], exposition: Callable[[], bytes]) -> None:
        self._hosts = hosts
        self._ready = ready
        self._exposition = exposition

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        del receive  # nothing here reads a body
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        status, kind, body = self._answer(scope["path"], scope["method"], hosts)
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, path: str, method: str, hosts: list[str]) -> tuple[int, bytes, bytes]:
        if not all(self._hosts.allows(host) for host in hosts):
            return 403, b"text/plain", b"this server is not known by that name: see allowed_hosts\n"
        if path not in {"/healthz", "/readyz", "/metrics"}:
            return 404, b"text/plain", b"this port has /healthz, /readyz and /metrics\n"
        if method not in {"GET", "HEAD"}:
            return 405, b"text/plain", b"GET only\n"
        if path == "/metrics":
            return 200, _FIGURES_TYPE, self._exposition()
        if path == "/readyz" and not self._ready():
            return 503, b"text/plain", b"not ready\n"
        return 200, b"text/plain", b"ok\n"
