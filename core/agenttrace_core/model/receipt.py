"""Receipts: the proof of an acknowledgement, carried by the client and kept by nobody.

The id is ``base64url(JSON array + HMAC-SHA256)``; the state of what it names follows from
the watermark, so that giving one costs no write.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agenttrace_core.errors import NotFoundError

_VERSION = 2
_MAC_BYTES = 16


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one acknowledged request put where.

    ``ends`` has, by partition, the ``next_offset`` of the last of its records there; it is empty, and
    ``accepted`` is 0, where nothing was stored. ``received_ns`` is nanoseconds since the epoch.
    """

    project: str
    signal: str
    ends: Mapping[int, int]
    accepted: int
    rejected: int
    received_ns: int
    reason: str = ""

    def is_below(self, offsets: Mapping[int, int]) -> bool:
        """Say whether all of it lies below ``offsets``, by partition."""
        return all(end <= offsets.get(partition, 0) for partition, end in self.ends.items())

    def sign(self, key: bytes) -> str:
        """Return the receipt's id, URL-safe, which only a holder of ``key`` can make."""
        body = json.dumps(
            [
                _VERSION, self.project, self.signal, sorted(self.ends.items()),
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
            receipt = cls._read(*json.loads(body))
        except (ValueError, TypeError) as error:
            raise NotFoundError("no such receipt in this project") from error
        if receipt.project != project:
            raise NotFoundError("no such receipt in this project")
        return receipt

    @classmethod
    def _read(cls, version: int, project: str, signal: str, *fields: Any) -> Receipt:
        if version == 1:  # of the releases that put a request into one record
            partition, _, end, *counts = fields
            return cls(project, signal, {partition: end} if counts[0] else {}, *counts)
        if version != _VERSION:
            raise ValueError("version")
        ends, *counts = fields
        return cls(project, signal, {int(partition): int(end) for partition, end in ends}, *counts)


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:_MAC_BYTES]
