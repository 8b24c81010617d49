"""``agenttrace demo``: a server with something in it to look at."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import click

from agenttrace_core.errors import AgentTraceError, ConfigurationError
from agenttrace_server.cli.options import resolve_server, server_options

if TYPE_CHECKING:
    from agenttrace_server.cli.client import Server
    from agenttrace_server.datafolder import Endpoints
    from agenttrace_server.settings import Settings


@click.command("demo")
@server_options
def demo_command(**options: Any) -> None:
    """Start the server, send it a few agent traces, and say how to look at them. Ctrl-C ends it.

    Where a server runs on the data folder already, send them to that one, and end.
    """
    from agenttrace_server.cli.up import welcome
    from agenttrace_server.logging import configure
    from agenttrace_server.supervisor import supervise

    settings = resolve_server(**options).settings
    configure(settings.log.level, "demo")
    if running := _running(settings):
        _send(running)
        return

    def ready(endpoints: Endpoints) -> None:
        from agenttrace_server.cli.client import Server

        welcome(settings, endpoints)
        server = Server(endpoints.api, f"{endpoints.otlp_http}/v1/traces")
        # Beside the supervisor's loop, which must go on looking after the server meanwhile.
        threading.Thread(target=_send_and_stay, args=(server,), daemon=True).start()

    supervise(settings, ready)


def _running(settings: Settings) -> Server | None:
    """Return the server that runs on the data folder. What one that was killed wrote down does not count."""
    from agenttrace_server.cli.client import Server
    from agenttrace_server.datafolder import folder_lock, read_endpoints

    found = read_endpoints(settings.data)
    if found is None:
        return None
    try:
        with folder_lock(settings.data) as lock:
            lock.acquire()
    except ConfigurationError:
        return Server(found.api, f"{found.otlp_http}/v1/traces")
    return None


def _send_and_stay(server: Server) -> None:
    from agenttrace_server.cli.terminal import console

    try:
        _send(server)
    except AgentTraceError as error:
        console().print(f"The demo traces could not be sent: {error}", style="red")
    else:
        console().print("Ctrl-C ends the server; the data stays where it is.")


def _send(server: Server) -> None:
    from agenttrace_server.cli.client import Client
    from agenttrace_server.cli.demo_traces import demo_request
    from agenttrace_server.cli.terminal import console, program

    request = demo_request()
    resources = request["resourceSpans"]
    first = resources[0]["scopeSpans"][0]["spans"][0]["traceId"]
    screen = console()
    with Client(server) as client:
        client.send(json.dumps(request).encode())
    screen.print(f"{len(resources)} agent traces were sent. In another terminal:", style="bold")
    for command in ("traces", f"trace {first[:8]}", "tail"):
        screen.print(f"  {program()} {command} --api {server.api}", style="cyan", soft_wrap=True)
