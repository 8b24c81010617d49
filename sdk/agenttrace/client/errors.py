"""What goes wrong when a server is asked.

::

    ClientError
    ├── ServerError              the server refused; ``status`` and ``kind`` say how
    │   └── QueryError           the query is wrong, at ``position``
    └── UnreachableError         nobody answers
    MissingPackageError          (an ImportError) a package is not installed; the message is the command that mends it
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class ClientError(Exception):
    """Base of what the client raises, but for wrong arguments and missing packages."""


class UnreachableError(ClientError):
    """The server does not answer."""


class ServerError(ClientError):
    """The server refused.

    Args:
        message: the server's, for people.
        status: of HTTP.
        kind: of the error, stable across releases, such as ``not_found`` or ``limit_exceeded``.
    """

    def __init__(self, message: str, *, status: int, kind: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class QueryError(ServerError):
    """A query is wrong. The message shows where, with a caret; ``position`` is in characters, from 0."""

    def __init__(self, message: str, *, status: int, kind: str, position: int) -> None:
        super().__init__(message, status=status, kind=kind)
        self.position = position


class MissingPackageError(ImportError):
    """A package that only this call needs is not installed."""


def needed(package: str, purpose: str) -> Any:
    """Import a package that only some calls need.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        command = "pip install 'agenttrace-platform[client]'" if package == "httpx" else f"pip install {package}"
        raise MissingPackageError(f"{purpose} needs the package {package}: {command}", name=package) from error
