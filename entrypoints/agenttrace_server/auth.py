"""Who may send and read: API keys, known by their hash alone, and callers on this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from agenttrace_core.errors import ConfigurationError, InvalidInputError, UnauthenticatedError
from agenttrace_core.model.principal import DEFAULT_PROJECT, Principal, check_project
from agenttrace_server.hosts import is_loopback

FORWARDING = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"})
"""Headers by which proxies say that they pass a request on. One that sets none of them cannot be told from a caller."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANDOM_BYTES = 24


def new_key(project: str) -> tuple[str, str]:
    """Make a key for ``project``: the text, to be shown once, and the hash to configure.

    Raises:
        InvalidInputError: ``project`` cannot name a project.
    """
    key = f"at_{check_project(project)}_{secrets.token_urlsafe(_RANDOM_BYTES)}"
    return key, key_hash(key)


def key_hash(key: str) -> str:
    """Return the SHA-256 of a key, in hex. Keys hold 192 random bits, so that no slow hash is called for."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class Authenticator:
    """Finds the principal of a request.

    Args:
        keys: pairs of a project and the SHA-256, in hex, of a key that may act in it.
        bind_host: the address that the port is bound to.
        local: whether callers on this machine need no key.

    Raises:
        ConfigurationError: a key's project or hash is malformed, or the port can be reached from
            other machines and there is no key.
    """

    def __init__(self, keys: Iterable[tuple[str, str]], *, bind_host: str, local: bool = True) -> None:
        self._local = local
        self._keys = [_checked(project, digest) for project, digest in keys]
        if not self._keys and not is_loopback(bind_host):
            raise ConfigurationError(
                f"host = {bind_host!r}: other machines could send and read without a key. Make one with "
                "'agenttrace key new PROJECT' and put it under auth.keys, or bind to 127.0.0.1"
            )

    def principal(self, authorization: str | None, peer: str | None, *, forwarded: bool = False) -> Principal:
        """Return who asks.

        Args:
            authorization: the ``Authorization`` header's value, if there is one. While no key is configured it is
                ignored of callers on this machine.
            peer: the address that the connection came from, as the operating system says.
            forwarded: whether a header, of ``FORWARDING``, says that a proxy passed the request on. It is
                believed only where it takes a right away: such a caller is not on this machine.

        Raises:
            UnauthenticatedError: the key is unknown, or there is none and the caller needs one.
        """
        # Without keys of ours, what a caller of this machine sends is another platform's: its client always does.
        if authorization is not None and self._keys:
            return self._of_key(authorization)
        if self._local and peer is not None and not forwarded and is_loopback(peer):
            return Principal(DEFAULT_PROJECT)
        if authorization is not None:
            return self._of_key(authorization)
        raise UnauthenticatedError("a key is needed: send it as 'Authorization: Bearer KEY'")

    def _of_key(self, authorization: str) -> Principal:
        key = _key_in(authorization)
        if key is None:
            raise UnauthenticatedError(
                "the Authorization header must be 'Bearer KEY', or Basic with the key as password"
            )
        digest = key_hash(key.strip())
        # Every hash is compared, in constant time, so that the time taken tells nothing of any.
        matches = [project for project, known in self._keys if hmac.compare_digest(known, digest)]
        if not matches:
            raise UnauthenticatedError("the key in the Authorization header is not known here")
        return Principal(matches[0])


def _key_in(authorization: str) -> str | None:
    """Return the key that a header gives as ``Bearer``, as ``Basic`` password, or, as Logfire's SDK does, bare."""
    scheme, space, given = authorization.strip().partition(" ")
    if not space:
        return scheme
    return {"bearer": given, "basic": _password(given)}.get(scheme.lower())


def _password(credentials: str) -> str | None:
    """Return the password of ``Basic`` credentials, None if they are none. The user's name says nothing here."""
    try:
        _, colon, password = base64.b64decode(credentials.strip(), validate=True).decode("latin-1").partition(":")
    except ValueError:
        return None
    return password if colon else None


def _checked(project: str, digest: str) -> tuple[str, str]:
    try:
        check_project(project)
    except InvalidInputError as error:
        raise ConfigurationError(f"auth.keys: {error}") from error
    digest = digest.lower()
    if _SHA256.fullmatch(digest) is None:
        raise ConfigurationError(
            f"auth.keys: the sha256 of a key of project {project!r} must be 64 hex digits; "
            "'agenttrace key new' prints the right entry"
        )
    return project, digest
