"""What PostgreSQL's errors mean to a caller.

By SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from agenttrace_core.errors import ConfigurationError, CorruptionError, UnavailableError

_TO_CONFIGURE = ("28", "3D", "3F", "42")
"""Who may log in, which database, which schema, which tables, and what the role may do with them."""
_FORBIDDEN = "42501"
_DAMAGED = ("XX001", "XX002")


@contextmanager
def translated(shown: str) -> Generator[None]:
    """Turn asyncpg's errors into those that a caller can act on.

    Raises:
        ConfigurationError: the database, the role or the tables are not there, or not allowed.
        CorruptionError: the database found its own files damaged.
        UnavailableError: anything else: it is away, starting, full, locked, or a standby.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _translated(error, shown) from error
    except asyncpg.ClientConfigurationError as error:
        raise ConfigurationError(f"metadata = {shown!r}: {error}") from error
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(f"metadata = {shown!r}: the server's certificate is not trusted: {error}") from error
    except TimeoutError as error:
        raise UnavailableError(f"metadata {shown!r} does not answer in time") from error
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if isinstance(error, ValueError):  # a value that has no place in its column: a mistake of ours
            raise
        raise UnavailableError(f"metadata {shown!r}: {error}") from error


def _translated(error: asyncpg.PostgresError, shown: str) -> ConfigurationError | CorruptionError | UnavailableError:
    state = error.sqlstate or ""
    if state in _DAMAGED:
        return CorruptionError(f"metadata {shown!r}: {error}")
    if state == _FORBIDDEN:
        needs = "the role needs CREATE on the database, or a schema of its own (CREATE SCHEMA … AUTHORIZATION role)"
        return ConfigurationError(f"metadata = {shown!r}: {error}: {needs}")
    if state.startswith(_TO_CONFIGURE):
        return ConfigurationError(f"metadata = {shown!r}: {error}")
    return UnavailableError(f"metadata {shown!r}: {error}")
