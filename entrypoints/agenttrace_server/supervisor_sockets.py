"""The ports that a server listens on, bound before its processes start and kept while they restart."""

from __future__ import annotations

import errno
import socket
import time

from agenttrace_core.errors import ConfigurationError

_BACKLOG = 1024


def listen(key: str, host: str, port: int, *, wait_s: float = 1.0) -> socket.socket:
    """Return a listening TCP socket; ``port`` 0 takes a free one. ``key`` is the setting, for errors.

    Connections that arrive while the process behind it restarts wait in its backlog. A port that
    is taken is tried for ``wait_s`` seconds, because a server killed a moment ago may still hold it.

    Raises:
        ConfigurationError: the address is not this machine's, or the port is taken.
    """
    listener = _bind(key, host, port, wait_s=wait_s)
    listener.listen(_BACKLOG)
    return listener


def reserve(key: str, host: str, port: int, *, wait_s: float = 1.0) -> socket.socket:
    """Return a socket that keeps a port for a child which can only bind for itself, as gRPC does.

    It is bound with ``SO_REUSEPORT`` and does not listen, so that the kernel gives it no
    connection. That option would let two servers share the port unseen: it is first bound
    without.

    Raises:
        ConfigurationError: as of ``listen``.
    """
    probe = _bind(key, host, port, wait_s=wait_s)
    port = port_of(probe)
    probe.close()
    return _bind(key, host, port, wait_s=wait_s, share=True)


def port_of(bound: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    port: int = bound.getsockname()[1]
    return port


def authority(host: str, port: int) -> str:
    """Return ``host:port`` as URLs have it, IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str, port: int) -> str:
    """Return the authority by which callers on this machine reach what is bound to ``host``."""
    return authority({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104 - asked, not bound


def _bind(key: str, host: str, port: int, *, wait_s: float, share: bool = False) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigurationError(f"{key}: {host!r} is not an address of this machine: {error}") from error
    give_up = time.monotonic() + wait_s
    while True:
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            bound.bind(address)
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > give_up:
                raise _unusable(key, host, port, error) from error
            time.sleep(0.02)
        else:
            return bound


def _unusable(key: str, host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"{key}: port {port} of {host} is taken by another program: stop that one, or choose another port "
            "(0 is any)"
        )
    return ConfigurationError(f"{key}: {authority(host, port)} cannot be bound: {error.strerror}")
