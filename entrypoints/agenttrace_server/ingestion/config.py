"""What an operator may choose about the doors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoorConfig:
    """Bounds and names of the OTLP doors of one process. Sizes are bytes, times seconds.

    ``bind_host`` is the address that the doors are bound to. ``allowed_hosts`` are further names
    under which they may be called, ``allowed_origins`` the web origins that may send (empty: every
    port of loopback's names). ``max_body_bytes`` bounds a request as it is sent,
    ``max_decompressed_bytes`` as it is read. A request whose body takes longer than
    ``body_timeout_s`` is refused; a connection that sends no whole request for
    ``connection_timeout_s`` is closed. On shutdown, requests under way have ``drain_s`` to end.
    """

    bind_host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 20 << 20
    max_decompressed_bytes: int = 20 << 20
    body_timeout_s: float = 30.0
    connection_timeout_s: float = 45.0
    keep_alive_s: float = 75.0
    max_connections: int = 4096
    drain_s: float = 20.0
