"""Which names and pages may reach a port, so that no web page can reach in by DNS rebinding.

A page of a hostile site can make a browser send requests to a loopback port: straight (the
``Origin`` header then names the site), or by having the site's own name resolve to the port's
address (the ``Host`` header then names the site). Both headers are set by the browser, and
cannot be forged by the page.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Say whether ``host``, a name or an address, is this machine's own and nobody else's."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


class HostGuard:
    """Checks the ``Host`` header of requests to one port.

    Bound to loopback, a port answers to loopback's names; bound elsewhere, also to any address
    written in digits, since rebinding needs a name. Other names are those in ``allowed_hosts``.

    Args:
        bind_host: the address or name that the port is bound to.
        allowed_hosts: further names, without port.
    """

    def __init__(self, bind_host: str, allowed_hosts: Iterable[str] = ()) -> None:
        self._names = {"localhost", _plain(bind_host), *(_plain(name) for name in allowed_hosts)}
        self._any_address = not is_loopback(bind_host)

    def allows(self, host: str) -> bool:
        """Say whether a ``Host`` header's value, with or without a port, names this server."""
        name = _plain(_without_port(host))
        if name in self._names:
            return True
        address = _address(name)
        return address is not None and (self._any_address or address.is_loopback)


class OriginGuard:
    """Checks the ``Origin`` header of requests that a browser's page made.

    Args:
        origins: the allowed ones, such as ``https://app.example.org``; None allows every port of
            loopback's names.
    """

    def __init__(self, origins: Iterable[str] | None = None) -> None:
        self._origins = None if origins is None else {origin.lower().rstrip("/") for origin in origins}

    def allows(self, origin: str) -> bool:
        """Say whether pages of ``origin`` may send here."""
        if self._origins is None:
            return _LOOPBACK_ORIGIN.fullmatch(origin) is not None
        return origin.lower() in self._origins


def _plain(name: str) -> str:
    return name.lower().strip("[]").removesuffix(".")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and ":" not in name else host


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
    # A socket that takes both versions shows IPv4 callers as ::ffff:1.2.3.4.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
