"""The span queue: where an acknowledged request is kept until it is in files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable
from uuid import UUID

from agenttrace_core.ports.adapter import Adapter


class Signal(StrEnum):
    """What a record's body holds."""

    TRACES = "traces"
    """An OTLP ``ExportTraceServiceRequest``, protobuf."""
    LOGS = "logs"
    """An OTLP ``ExportLogsServiceRequest``, protobuf."""
    REFUSED = "refused"
    """What a door refused: JSON ``DeadLetter`` head, newline, then the refused bytes."""
    STORED = "stored"
    """A JSON object that says in which object of the storage the body is, since it is too long for a record."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What travels beside a body. ``received_ns`` is nanoseconds since the epoch."""

    project: str
    signal: Signal
    received_ns: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record is: ``offset`` is its own, ``next_offset`` the least that its successor may have."""

    partition: int
    offset: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was appended."""

    position: Position
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class QueueCapabilities:
    """What a queue can do beyond the port's methods."""

    durable: bool
    """What was acknowledged is there after the process was killed and opened again."""
    multi_process: bool
    """Other processes can read what this one appends."""
    multi_machine: bool
    """Processes of other machines can, too: readers are not told by a live table, and read it for themselves."""
    addressable: bool
    """``append`` stores in the partition that it is told. Elsewhere the adapter chooses, whatever it is told."""
    byte_offsets: bool
    """The difference of two offsets is the bytes between them, so that a backlog can be told in bytes."""
    max_record_bytes: int
    """A longer body is refused by ``append``."""


class SpanQueue(Adapter, Protocol):
    """Partitioned append-only log. Offsets grow within a partition, not necessarily by one.

    Any number of appends may be under way at once; records of one partition have one order,
    which every reader sees, and which is that of the acknowledgements of appends awaited one
    after the other. Readers never see a record that a crash could still take back.
    """

    @property
    @abstractmethod
    def capabilities(self) -> QueueCapabilities:
        """Constant once open; what the backend decides, such as the longest record, is a guess before."""

    @property
    @abstractmethod
    def queue_id(self) -> UUID:
        """Made with the log or topic; another id means another log. Known once open."""

    @abstractmethod
    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        """Store one record, and return once it is durable.

        ``partition`` is one of the keys of ``end_offsets``, and says where if the queue is ``addressable``;
        without it, the adapter chooses.

        Ownership: ``body`` is not changed and may be kept. Atomic: the record is stored whole or
        not at all. Not idempotent: a second call stores a second record. If this raises, the
        record may or may not come to be read; the caller has not been acknowledged.

        Raises:
            InvalidInputError: the queue is addressable, and has no such partition.
            PayloadTooLargeError: the body exceeds ``capabilities.max_record_bytes``.
            UnavailableError: it could not be made durable (disk full, failing fsync, broker away).
        """

    @abstractmethod
    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        """Return durable records from ``offset`` on, in order, without gaps.

        Stops before ``max_bytes`` of bodies are exceeded, but returns at least one record if there
        is one. Waits up to ``wait_s`` seconds for the first; empty if none came. ``offset`` is one
        that ``Position.next_offset`` or ``begin_offsets`` gave; records below the trimmed beginning
        are not there, and reading starts at the beginning then.

        Raises:
            CorruptionError: the record at ``offset`` is damaged; ``skip_to`` of the error is the
                offset at which reading can go on.
        """

    @abstractmethod
    async def begin_offsets(self) -> Mapping[int, int]:
        """The least offset still kept, by partition."""

    @abstractmethod
    async def end_offsets(self) -> Mapping[int, int]:
        """The ``next_offset`` of the last durable record, by partition. Its keys are all partitions."""

    @abstractmethod
    async def trim(self, partition: int, offset: int) -> None:
        """Allow everything below ``offset`` to be forgotten. Idempotent; may keep more than it must."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a queue keeps records that nobody trims, and how much of that is left of the oldest that is needed."""

    total_s: float
    left_s: float
    """0 if some that were needed are gone."""


@runtime_checkable
class Retaining(Adapter, Protocol):
    """A queue that may forget by itself, whether or not what it forgets was written."""

    @abstractmethod
    async def open_existing(self) -> None:
        """Open for a look, as ``open`` does, but make nothing.

        Raises:
            NotFoundError: there is no such queue yet.
        """

    @abstractmethod
    async def retention(self, watermarks: Mapping[int, int] | None = None) -> Retention | None:
        """Tell how long records at or above the watermarks are kept; None if they are until trimmed.

        Without ``watermarks``, those up to which it was trimmed last count, by whichever process.

        Raises:
            UnavailableError: the backend does not answer.
        """
