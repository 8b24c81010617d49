"""``agenttrace demo``: a server with something in it to look at."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import click

from agenttrace_core.errors import AgentTraceError
from agenttrace_server.cli.options import resolve_server, server_options

if TYPE_CHECKING:
    from agenttrace_server.cli.client import Server
    from agenttrace_server.datafolder import Endpoints


@click.command("demo")
@server_options
def demo_command(**options: Any) -> None:
    """Start the server, send it a few agent traces, and say how to look at them. Ctrl-C ends it."""
    from agenttrace_server.cli.up import welcome
    from agenttrace_server.logging import configure
    from agenttrace_server.supervisor import supervise

    settings = resolve_server(**options).settings
    configure(settings.log.level, "demo")

    def ready(endpoints: Endpoints) -> None:
        from agenttrace_server.cli.client import Server

        welcome(settings, endpoints)
        server = Server(endpoints.api, f"{endpoints.otlp_http}/v1/traces")
        # Beside the supervisor's loop, which must go on looking after the server meanwhile.
        threading.Thread(target=_send, args=(server,), daemon=True).start()

    supervise(settings, ready)


def _send(server: Server) -> None:
    from agenttrace_server.cli.client import Client
    from agenttrace_server.cli.demo_traces import demo_request
    from agenttrace_server.cli.terminal import console

    request = demo_request()
    resources = request["resourceSpans"]
    first = resources[0]["scopeSpans"][0]["spans"][0]["traceId"]
    screen = console()
    try:
        with Client(server) as client:
            client.send(json.dumps(request).encode())
    except AgentTraceError as error:
        screen.print(f"The demo traces could not be sent: {error}", style="red")
        return
    screen.print(f"{len(resources)} agent traces were sent. In another terminal:", style="bold")
    for command in ("traces", f"trace {first[:8]}", "tail"):
        screen.print(f"  agenttrace {command} --api {server.api}", style="cyan", soft_wrap=True)
    screen.print("Ctrl-C ends the server; the data stays where it is.")
