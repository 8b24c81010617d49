"""Every error that AgentTrace raises on purpose, grouped by what a handler would do.

::

    AgentTraceError
    ├── InvalidInputError        the sender must change what it sends (HTTP 400)
    │   ├── QueryError           of a question in the query language
    │   ├── PayloadTooLargeError (413)
    │   └── UnsupportedMediaError (415)
    ├── UnauthenticatedError     no key, or an unknown one (401)
    ├── NotFoundError            nothing by that name in this project (404)
    ├── LimitExceededError       the answer would be too large or take too long (422)
    ├── OverloadedError          try again after ``retry_after_s`` (429)
    ├── UnavailableError         a backend is away; nothing was written (503)
    │   └── GoneError            an object is not there: merged with others meanwhile, or lost
    ├── ArchivedError            it lies in an archive, and has to be restored first (409)
    ├── ConflictError            somebody else was first; read again and retry
    │   ├── WatermarkConflictError
    │   └── AlreadyExistsError
    ├── CorruptionError          stored bytes are not what was stored
    ├── UnsupportedError         the adapter does not declare this capability
    └── ConfigurationError       the operator must change a setting
        └── MissingExtraError    a package is not installed

Each class has a stable ``kind`` for logs, metrics and API bodies.
"""

from __future__ import annotations

from typing import ClassVar


class AgentTraceError(Exception):
    """Base of the tree. ``kind`` is stable across releases."""

    kind: ClassVar[str] = "error"


class InvalidInputError(AgentTraceError):
    """What was sent cannot be used; the message names the field and what would be right."""

    kind = "invalid_input"


class QueryError(InvalidInputError):
    """A text in the query language is wrong. The message shows the place with a caret below it.

    Args:
        message: what is wrong and what would be right, several lines long.
        problem: the same in one line, without the place.
        position: of the first wrong character in the text, from 0.
    """

    kind = "invalid_query"

    def __init__(self, message: str, *, problem: str, position: int) -> None:
        super().__init__(message)
        self.problem = problem
        self.position = position


class PayloadTooLargeError(InvalidInputError):
    """A body, before or after decompression, exceeds the configured limit."""

    kind = "payload_too_large"


class UnsupportedMediaError(InvalidInputError):
    """A content type or encoding that this door does not speak."""

    kind = "unsupported_media"


class UnauthenticatedError(AgentTraceError):
    """No key was sent, or an unknown one."""

    kind = "unauthenticated"


class NotFoundError(AgentTraceError):
    """There is nothing by that name, or it is another project's."""

    kind = "not_found"


class LimitExceededError(AgentTraceError):
    """A question was understood, and its answer would exceed a limit; the message names the limit."""

    kind = "limit_exceeded"


class OverloadedError(AgentTraceError):
    """Refused to protect what was accepted before. Nothing was written.

    Args:
        message: what is full, and its bound.
        retry_after_s: seconds after which a retry may succeed, 1 to 3.
    """

    kind = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(AgentTraceError):
    """A backend does not answer. Nothing was acknowledged; retry later.

    Args:
        message: which backend, and what it said.
        retry_after_s: seconds after which a retry may succeed, 1 to 3.
    """

    kind = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class GoneError(UnavailableError):
    """An object that a view names is not there any more: it was merged with others meanwhile, or is lost."""


class ArchivedError(AgentTraceError):
    """An object lies in a tier from which it has to be restored before it can be read, which takes hours.

    Args:
        message: which, and whether a restore is under way.
        key: of the object.
    """

    kind = "archived"

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


class ConflictError(AgentTraceError):
    """Another process changed the state first; read it again and retry."""

    kind = "conflict"


class WatermarkConflictError(ConflictError):
    """The partition's watermark is not where this writer left it: another writer committed."""

    kind = "watermark_conflict"


class AlreadyExistsError(ConflictError):
    """An immutable object with this key exists and holds other bytes."""

    kind = "already_exists"


class CorruptionError(AgentTraceError):
    """Stored bytes do not match their checksum or their format.

    Args:
        message: what is damaged, and where.
        skip_to: in a log, the offset at which reading can go on; None elsewhere.
    """

    kind = "corruption"

    def __init__(self, message: str, *, skip_to: int | None = None) -> None:
        super().__init__(message)
        self.skip_to = skip_to


class UnsupportedError(AgentTraceError):
    """The adapter does not declare the capability that this call needs."""

    kind = "unsupported"


class ConfigurationError(AgentTraceError):
    """A setting is wrong; the message names the key and what would be right."""

    kind = "configuration"


class MissingExtraError(ConfigurationError):
    """An adapter's package is not installed; the message is the ``pip install`` that mends it."""

    kind = "missing_extra"
