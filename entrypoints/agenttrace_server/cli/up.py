"""``agenttrace up``: the whole server on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agenttrace_server.cli.options import resolve_server, server_options

if TYPE_CHECKING:
    from agenttrace_server.datafolder import Endpoints
    from agenttrace_server.settings import Settings


@click.command("up")
@server_options
def up_command(**options: Any) -> None:
    """Start the server: doors, writer and API, in one data folder. Ctrl-C or SIGTERM ends it in order."""
    from agenttrace_server.logging import configure
    from agenttrace_server.supervisor import supervise

    settings = resolve_server(**options).settings
    configure(settings.log.level, "up")
    supervise(settings, lambda endpoints: welcome(settings, endpoints))


def welcome(settings: Settings, endpoints: Endpoints) -> None:
    """Print where to send spans, where to read them, and what to do next."""
    from agenttrace_server.cli.terminal import console, program

    screen = console()
    rows = (
        ("send spans to", endpoints.otlp_http, "OTLP/HTTP"),
        ("", endpoints.otlp_grpc, "OTLP/gRPC"),
        ("read them at", endpoints.api, f"API; its description is at {endpoints.api}/docs"),
        ("all data is in", str(settings.data), ""),
    )
    width = max(len(place) for _, place, _ in rows)
    screen.print("\nAgentTrace is up.", style="bold green")
    for label, place, remark in rows:
        screen.print(f"  {label:<15} {place:<{width}}  {remark}".rstrip(), soft_wrap=True)
    screen.print("\nNext: point any OpenTelemetry exporter at it")
    screen.print(f"  export OTEL_EXPORTER_OTLP_ENDPOINT={endpoints.otlp_http}", style="cyan", soft_wrap=True)
    screen.print("and, in another terminal, look:")
    screen.print(f"  {program()} traces --api {endpoints.api}\n", style="cyan", soft_wrap=True)
