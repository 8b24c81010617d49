"""``agenttrace ingest|write|query|compact``: one part of a server, with the same settings; and supervised children."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenttrace_core.errors import ConfigurationError
from agenttrace_server.cli.options import config_option, data_option, resolve_server

if TYPE_CHECKING:
    from agenttrace_server.supervisor_child import Role


@click.command("ingest")
@config_option
@data_option
@click.option("--host", metavar="HOST", help="Address to listen on (default 127.0.0.1).")
@click.option("--otlp-port", type=int, metavar="PORT", help="OTLP/HTTP port (default 4318; 0 is any).")
@click.option("--grpc-port", type=int, metavar="PORT", help="OTLP/gRPC port (default 4317; 0 is any).")
def ingest_command(
    config: Path | None, data: Path | None, host: str | None, otlp_port: int | None, grpc_port: int | None
) -> None:
    """Run the doors alone. Any number of them may run beside each other."""
    from agenttrace_server.supervisor_child import Role

    _run_alone(Role.INGEST, config, data, host=host, otlp_port=otlp_port, grpc_port=grpc_port)


@click.command("write")
@config_option
@data_option
def write_command(config: Path | None, data: Path | None) -> None:
    """Run the writer alone: it makes acknowledged spans readable, and writes them into files."""
    from agenttrace_server.supervisor_child import Role

    _run_alone(Role.WRITE, config, data)


@click.command("query")
@config_option
@data_option
@click.option("--host", metavar="HOST", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=int, metavar="PORT", help="API port (default 8000; 0 is any).")
def query_command(config: Path | None, data: Path | None, host: str | None, port: int | None) -> None:
    """Run the API alone. Any number of them may run beside each other."""
    from agenttrace_server.supervisor_child import Role

    _run_alone(Role.QUERY, config, data, host=host, port=port)


@click.command("compact")
@config_option
@data_option
def compact_command(config: Path | None, data: Path | None) -> None:
    """Run the compactor alone: it merges small files and removes what nothing needs."""
    from agenttrace_server.supervisor_child import Role

    _run_alone(Role.COMPACT, config, data)


@click.command("child", hidden=True)
@click.argument("role")
def child_command(role: str) -> None:
    """Run a part as its supervisor says on standard input."""
    from agenttrace_server.supervisor_child import Assignment, die_with

    assignment = Assignment.read()
    if assignment.role != role:
        raise ConfigurationError(f"this is for `agenttrace up` alone: run `agenttrace {role}` instead")
    die_with(assignment.parent)
    from agenttrace_server.composition_place import run_child

    run_child(assignment)


def _run_alone(
    role: Role,
    config: Path | None,
    data: Path | None,
    host: str | None = None,
    port: int | None = None,
    otlp_port: int | None = None,
    grpc_port: int | None = None,
) -> None:
    from agenttrace_server.composition_place import run_alone

    resolved = resolve_server(config=config, data=data, host=host, port=port, otlp_port=otlp_port, grpc_port=grpc_port)
    run_alone(role, resolved.settings)
