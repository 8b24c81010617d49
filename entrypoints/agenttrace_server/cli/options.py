"""Options that several commands share, and the settings that follow from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

if TYPE_CHECKING:
    from agenttrace_server.settings_sources import Resolved

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


config_option: Decorator = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings, instead of ./agenttrace.toml."
)
data_option: Decorator = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The data folder."
)
api_option: Decorator = click.option(
    "--api", metavar="URL", help="Where the server's API is; else AGENTTRACE_API, else the data folder says."
)


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where a server keeps its data and listens."""
    for option in (
        click.option("--grpc-port", type=int, metavar="PORT", help="OTLP/gRPC port (default 4317; 0 is any)."),
        click.option("--otlp-port", type=int, metavar="PORT", help="OTLP/HTTP port (default 4318; 0 is any)."),
        click.option("--port", type=int, metavar="PORT", help="API port (default 8000; 0 is any)."),
        click.option("--host", metavar="HOST", help="Address to listen on (default 127.0.0.1)."),
        data_option,
        config_option,
    ):
        function = option(function)
    return function


def client_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which server to talk to."""
    for option in (config_option, data_option, api_option):
        function = option(function)
    return function


def resolve_server(
    *,
    config: Path | None,
    data: Path | None,
    host: str | None = None,
    port: int | None = None,
    otlp_port: int | None = None,
    grpc_port: int | None = None,
) -> Resolved:
    """Return the settings in force, with what the command line says over all else."""
    from agenttrace_server.settings_sources import resolve

    return resolve(
        config=config,
        environ=os.environ,
        options={
            "data": data, "ingest.host": host, "query.host": host, "query.port": port,
            "ingest.port": otlp_port, "ingest.grpc_port": grpc_port,
        },
    )  # fmt: skip
