"""What a server's refusals and silences mean to a caller."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError

from agenttrace_core.errors import AgentTraceError, ConfigurationError, UnavailableError

Failure = (ClientError, BotoCoreError, aiohttp.ClientError, OSError, TimeoutError)
"""All that a request can end with instead of an answer."""

_SILENCE = (HTTPClientError, NoConnectionError, ResponseParserError, aiohttp.ClientError, OSError, TimeoutError)

_AGAIN = {
    "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError", "OperationAborted",
    "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}  # fmt: skip
"""Codes of refusals that another try may escape; see "Amazon S3 error responses"."""

_WRONG_CREDENTIALS = {
    "AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
    "SignatureDoesNotMatch", "403",
}  # fmt: skip
_WRONG_SETTINGS = {
    "InvalidArgument", "InvalidEncryptionAlgorithmError", "InvalidStorageClass", "NotImplemented",
    "ServerSideEncryptionConfigurationNotFoundError",
}  # fmt: skip


def code_of(error: BaseException) -> str:
    """Return the code of a server's refusal, such as ``NoSuchKey``; of what has no body, its status."""
    return str(_told(error).get("Code", ""))


def status_of(error: BaseException) -> int:
    """Return the HTTP status of a server's refusal; 0 of anything else."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, ClientError):
        return code_of(error) in _AGAIN or (status_of(error) >= 500 and code_of(error) != "NotImplemented")
    if isinstance(error, SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    return isinstance(error, _SILENCE)


@contextmanager
def translated(what: str, endpoint: str) -> Generator[None]:
    """Turn what a request ended with into an error that a caller can act on.

    Args:
        what: is being done, and with what, such as ``putting 'spans/1'``.
        endpoint: of the server.

    Raises:
        ConfigurationError: the server does not know a setting of ours, such as a storage class.
        UnavailableError: anything else.
    """
    try:
        yield
    except Failure as error:
        raise translation(error, what, endpoint) from error


def translation(error: Exception, what: str, endpoint: str) -> AgentTraceError:
    """Return the error of ours that a failure is."""
    told = f"storage at {endpoint}: {what}: {summary(error)}"
    if code_of(error) in _WRONG_SETTINGS or (code_of(error).lower().startswith("kms") and not may_pass(error)):
        return ConfigurationError(told)
    return UnavailableError(told)


def translation_at_open(error: Exception, bucket: str, endpoint: str) -> AgentTraceError:
    """Return the error of ours that a failure of the first request of all is."""
    where = f"storage: bucket {bucket!r} at {endpoint}"
    reason = _reason_at_open(error)
    if reason is not None:
        return ConfigurationError(f"{where}{reason}")
    return UnavailableError(f"{where} does not answer: {summary(error)}")


def _reason_at_open(error: Exception) -> str | None:
    """Return what an operator must change; None if it is the server that does not answer."""
    code = code_of(error)
    if code in ("NoSuchBucket", "404"):
        return " does not exist: make it, or name another"
    if code in ("PermanentRedirect", "301", "IllegalLocationConstraintException"):
        return " lies in another region: say which by region=, or AWS_REGION"
    if code in _WRONG_CREDENTIALS:
        return f": the server refuses these credentials: {summary(error)}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return (
            ": no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
            "or write s3://KEY:SECRET@bucket"
        )
    return None if may_pass(error) else f": {summary(error)}"


def summary(error: BaseException) -> str:
    """Return a failure in a line."""
    if isinstance(error, ClientError):
        message = str(_told(error).get("Message", ""))
        return f"{code_of(error)} ({status_of(error)})" + (f": {message}" if message else "")
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"


def _told(error: BaseException) -> dict[str, Any]:
    return dict(error.response.get("Error", {})) if isinstance(error, ClientError) else {}
