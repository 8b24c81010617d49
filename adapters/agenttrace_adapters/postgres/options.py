"""``postgresql://…``: what is PostgreSQL's own of it, and what is ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from agenttrace_core.errors import ConfigurationError
from agenttrace_core.registry import without_password

EXAMPLE = "postgresql://user:password@host:5432/database"

_SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/]*)(:\d+)?")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_LIBPQ = frozenset({
    "application_name", "dbname", "gsslib", "host", "krbsrvname", "passfile", "port", "service", "sslcert", "sslcrl",
    "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert", "ssl_max_protocol_version",
    "ssl_min_protocol_version", "target_session_attrs", "user",
})  # fmt: skip
"""Options of the URL that mean what libpq's documentation says, as far as asyncpg knows them."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a catalog is reached.

    Attributes:
        dsn: the URL without our own options, with the password.
        shown: the URL as it may be shown.
        schema: where the tables are.
        pool_size: the most connections that one process opens.
        connect_timeout: seconds until a connection must stand, or be free.
        lock_timeout: seconds for which a change waits for another process's.
        command_timeout: seconds that one statement may take.
        pgbouncer: connections go through a pool that hands one out a transaction at a time.
        statement_cache_size: prepared statements kept by each connection.
    """

    dsn: str
    shown: str
    schema: str = "agenttrace"
    pool_size: int = 4
    connect_timeout: float = 3.0
    lock_timeout: float = 3.0
    command_timeout: float = 10.0
    pgbouncer: bool = False
    statement_cache_size: int = 200

    def table(self, name: str) -> str:
        """Return a table's name with its schema."""
        return f'"{self.schema}".{name}'


def parse(url: str) -> Options:
    """Read a URL.

    Raises:
        ConfigurationError: it is not one of PostgreSQL, or an option is unknown or wrong. The
            message never shows the password, nor what might be part of one.
    """
    shown = without_password(url).partition("?")[0]
    try:
        parts = urlsplit(url)
    except ValueError:  # it looks for an IPv6 address where there is a bracket
        raise _no_url(shown) from None
    hosts = parts.netloc.rpartition("@")[2].split(",")
    # What follows an unescaped "/", "?" or "#" of a password would be taken for port, path or options.
    is_torn = "@" in parts.path or "@" in parts.fragment or not all(_HOST.fullmatch(host) for host in hosts)
    if parts.scheme not in _SCHEMES or not url.startswith(f"{parts.scheme}://") or is_torn or parts.fragment:
        raise _no_url(shown)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    ours = {name: _read(name, given.pop(name), shown) for name in list(given) if name in _OURS}
    if unknown := sorted(given.keys() - _LIBPQ):
        raise ConfigurationError(f"metadata = {shown!r}: {_unknown(unknown[0])}")
    if ours.get("pgbouncer"):
        ours.setdefault("statement_cache_size", 0)
    return Options(dsn=urlunsplit(parts._replace(query=urlencode(given))), shown=shown, **ours)


def _no_url(shown: str) -> ConfigurationError:
    return ConfigurationError(
        f"metadata = {shown!r} is no URL of PostgreSQL: write it like {EXAMPLE!r},"
        " with special characters of the password in percent-encoding"
    )


def _unknown(name: str) -> str:
    if name == "password":
        return "a password goes before the '@', or into PGPASSWORD or a passfile, where no log shows it"
    return f"unknown option {name!r}; known are {', '.join(sorted([*_OURS, *_LIBPQ]))}"


def _schema(text: str) -> str:
    if not _SCHEMA.fullmatch(text):
        raise ValueError("small letters, digits and _, 40 at the most")
    return text


def _size(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError("a number of connections, 1 or more")
    return number


def _cache_size(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError("a number of statements, 0 for none")
    return number


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) < 3600:
        raise ValueError("a number of seconds above 0")
    return seconds


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


_OURS: Mapping[str, Callable[[str], Any]] = {
    "schema": _schema, "pool_size": _size, "connect_timeout": _seconds, "lock_timeout": _seconds,
    "command_timeout": _seconds, "pgbouncer": _flag, "statement_cache_size": _cache_size,
}  # fmt: skip


def _read(name: str, text: str, shown: str) -> Any:
    try:
        return _OURS[name](text)
    except ValueError as error:
        raise ConfigurationError(f"metadata = {shown!r}: {name} = {text!r} is wrong: {error}") from error
