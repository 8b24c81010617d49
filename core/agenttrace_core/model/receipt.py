"""Receipts: the proof of an acknowledgement, carried by the client and kept by nobody.

The id is ``base64url(JSON array + HMAC-SHA256)``; the state of what it names follows from
the watermark, so that giving one costs no write.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass

from agenttrace_core.errors import NotFoundError

_VERSION = 1
_MAC_BYTES = 16


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one acknowledged request put where.

    ``first`` and ``next`` are offsets in ``partition``; both are 0, and ``accepted`` is 0, where
    nothing was stored. ``received_ns`` is nanoseconds since the epoch.
    """

    project: str
    signal: str
    partition: int
    first: int
    next: int
    accepted: int
    rejected: int
    received_ns: int
    reason: str = ""

    def sign(self, key: bytes) -> str:
        """Return the receipt's id, URL-safe, which only a holder of ``key`` can make."""
        body = json.dumps(
            [
                _VERSION, self.project, self.signal, self.partition, self.first, self.next,
                self.accepted, self.rejected, self.received_ns, self.reason[:200],
            ],
            separators=(",", ":"),
        ).encode()  # fmt: skip
        return base64.urlsafe_b64encode(_mac(key, body) + body).rstrip(b"=").decode()

    @classmethod
    def open(cls, receipt_id: str, key: bytes, project: str) -> Receipt:
        """Read an id that ``sign`` made.

        Raises:
            NotFoundError: it was not signed with ``key``, or belongs to another project. The two
                are not told apart.
        """
        try:
            raw = base64.b64decode(receipt_id + "=" * (-len(receipt_id) % 4), altchars=b"-_", validate=True)
            mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            if not hmac.compare_digest(mac, _mac(key, body)):
                raise ValueError("signature")
            version, *fields = json.loads(body)
            if version != _VERSION:
                raise ValueError("version")
            receipt = cls(*fields)
        except (ValueError, TypeError) as error:
            raise NotFoundError("no such receipt in this project") from error
        if receipt.project != project:
            raise NotFoundError("no such receipt in this project")
        return receipt


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:_MAC_BYTES]
