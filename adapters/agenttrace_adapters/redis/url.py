"""``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=&timeout_ms=&ca_file=]``, and ``rediss://`` for TLS."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from agenttrace_core.errors import ConfigurationError

_PORT = 6379
_PREFIX = re.compile("[A-Za-z0-9._-]{1,64}")
_MAX_TIMEOUT_MS = 60_000
_OPTIONS = {"prefix": "agenttrace", "timeout_ms": "250", "ca_file": ""}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where the server is, and how this deployment's keys begin on it.

    ``timeout_s`` is what one command may take. ``ca_file`` holds the certificates that a server's own is checked
    against; None means those of the system.
    """

    host: str
    port: int = _PORT
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: Path | None = None
    prefix: str = "agenttrace"
    timeout_s: float = 0.25

    @classmethod
    def parse(cls, url: str) -> RedisUrl:
        """Read a value of the setting ``cache``.

        Raises:
            ConfigurationError: it is not one of Redis; the message says what is wrong, and shows no password.
        """
        if "@" in re.sub("^[^/?#]*//[^/?#]*", "", url):
            # What follows an unescaped "/", "?" or "#" of a password would be shown as a database or an option.
            raise _wrong("signs such as '/', '?' and '#' of a password are percent-encoded: %2F, %3F, %23")
        try:
            parts = urlsplit(url)
            options = _OPTIONS | dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            port = parts.port or _PORT
            timeout_ms = int(options["timeout_ms"])
        except ValueError as error:
            raise _wrong("its port or its options cannot be read") from error
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise _wrong("it names no host")
        if re.fullmatch("/?|/[0-9]{1,5}", parts.path) is None:
            raise _wrong(f"the database {parts.path[1:]!r} is not a number")
        if unknown := options.keys() - _OPTIONS.keys():
            raise _wrong(f"there is no option {min(unknown)!r}")
        if _PREFIX.fullmatch(options["prefix"]) is None:
            raise _wrong(f"the prefix {options['prefix']!r} is not 1 to 64 characters of A-Z a-z 0-9 . _ -")
        if not 1 <= timeout_ms <= _MAX_TIMEOUT_MS:
            raise _wrong(f"timeout_ms is {timeout_ms}, not 1 to {_MAX_TIMEOUT_MS}")
        return cls(
            host=parts.hostname,
            port=port,
            database=int(parts.path[1:] or 0),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=parts.scheme == "rediss",
            ca_file=Path(options["ca_file"]) if options["ca_file"] else None,
            prefix=options["prefix"],
            timeout_s=timeout_ms / 1000,
        )

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"cache: {why}; write redis://[:PASSWORD@]HOST[:6379][/0][?prefix=agenttrace&timeout_ms=250], "
        "or rediss:// for TLS"
    )
