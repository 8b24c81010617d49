"""Cursors: a place in a list, carried by the client, bound to the project and the question it came from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import NoReturn

from agenttrace_core.errors import InvalidInputError

_MAC_BYTES = 12


class Cursors:
    """Signs and opens cursors.

    Args:
        key: a secret that every process which answers shares.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, project: str, question: str, place: tuple[int | str, ...]) -> str:
        """Return an opaque, URL-safe text for ``place`` in the answer to ``question``."""
        body = json.dumps(place, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(project, question, body) + body).rstrip(b"=").decode()

    def open(self, cursor: str, project: str, question: str) -> list[int | str]:
        """Return the place that ``sign`` was given.

        Raises:
            InvalidInputError: ``cursor`` was not given out for this project and question.
        """
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            _refuse()
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(project, question, body)):
            _refuse()
        place: list[int | str] = json.loads(body)
        return place

    def _mac(self, project: str, question: str, body: bytes) -> bytes:
        message = b"\0".join((project.encode(), question.encode(), body))
        return hmac.digest(self._key, message, hashlib.sha256)[:_MAC_BYTES]


def _refuse() -> NoReturn:
    raise InvalidInputError("the cursor is not one that this list gave out: ask again without it")
