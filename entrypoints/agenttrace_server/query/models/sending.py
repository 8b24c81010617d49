"""What senders get: acknowledgements, receipts, and what was refused."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agenttrace_server.query.models.common import Model


class Receipt(Model):
    """What has become of an acknowledged request."""

    id: str
    signal: str
    received_ns: int
    accepted: int
    rejected: int
    reason: str = Field(description="Why some were rejected; empty if none were.")
    stored: bool = Field(description="Durable: what was accepted outlives a crash.")
    readable: bool = Field(description="All that was accepted is in the answers of this API.")
    in_files: bool = Field(description="All that was accepted is in files on object storage.")


class Sent(Model):
    """An acknowledgement: what was accepted is durable.

    ``partialSuccess`` is as in OTLP, and absent if none was rejected.
    """

    receipt: str
    accepted: int
    rejected: int
    reason: str
    trace_ids: list[str] = Field(default=[], description="Of a simple JSON trace, the id that it was given.")
    partialSuccess: dict[str, Any] | None = None  # noqa: N815 - the name in OTLP


class DeadLetter(Model):
    """Something that was refused. ``bytes`` is null if only the reason was kept."""

    id: str
    signal: str
    received_ns: int
    reason: str
    spans: int
    bytes: int | None


class DeadLetters(Model):
    """A page of dead letters, newest first."""

    items: list[DeadLetter]
    next_cursor: str | None
