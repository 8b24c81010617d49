"""Bodies that are too long for the queue: kept as objects of the storage, while a record says where.

The object is put before its record is appended, under a key that no other record has, and deleted
after the commit that covers the record. One that a crash left behind is swept later.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import xxhash

from agenttrace_core.errors import CorruptionError, InvalidInputError, NotFoundError
from agenttrace_core.model.keys import check_key
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.queue import Headers, Record, Signal
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.services.memory_of_writes import body_hash

_log = logging.getLogger(__name__)

PREFIX = "records/"
"""What the keys of all such objects begin with."""

_TRIES = 3
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a body is. ``digest`` is what it is known again by, as if it had been in the queue."""

    signal: Signal
    object: StoredObject
    digest: bytes

    @classmethod
    def of(cls, headers: Headers, body: bytes) -> Reference:
        """Name the object of one body of one request, so that no other record can share it."""
        digest = body_hash(headers.project + headers.signal, body)
        key = f"{PREFIX}{headers.project}/{headers.received_ns}-{digest.hex()}"
        return cls(headers.signal, StoredObject(key, len(body), xxhash.xxh3_128_hexdigest(body)), digest)

    def to_record(self, headers: Headers) -> tuple[Headers, bytes]:
        """Return the queue's record of it, with the headers that the body would have had."""
        fields = {
            "signal": str(self.signal), "key": self.object.key, "size": self.object.size,
            "checksum": self.object.checksum, "digest": self.digest.hex(),
        }  # fmt: skip
        body = json.dumps(fields, separators=(",", ":")).encode()
        return Headers(headers.project, Signal.STORED, headers.received_ns), body

    @classmethod
    def from_record(cls, record: Record) -> Reference:
        """Read what ``to_record`` made.

        Raises:
            InvalidInputError: the record is something else, or names an object that is not its project's.
        """
        try:
            fields = json.loads(record.body)
            stored = StoredObject(check_key(str(fields["key"])), int(fields["size"]), str(fields["checksum"]))
            reference = cls(Signal(fields["signal"]), stored, bytes.fromhex(fields["digest"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError("the record does not say where its body is") from error
        if not stored.key.startswith(f"{PREFIX}{record.headers.project}/"):
            raise InvalidInputError(f"the record names an object that is not of its project: {stored.key[:80]!r}")
        return reference


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A record whose body is not in the storage, or is not what was put there (``found``)."""

    record: Record
    reference: Reference | None
    reason: str
    found: bytes = b""


@dataclass(slots=True)
class Resolved:
    """Records with their bodies in place of references, in order, and the ``keys`` of all objects named."""

    records: list[Record] = field(default_factory=list)
    unresolved: list[Unresolved] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    next_offset: int | None = None


async def resolve(records: Sequence[Record], storage: ObjectStorage, max_bytes: int) -> Resolved:
    """Fetch the bodies that records refer to. Stops before ``max_bytes`` are exceeded, but not before the first.

    Raises:
        UnavailableError: the storage does not answer. Nothing is decided then.
    """
    resolved = Resolved()
    outcomes: list[Record | Unresolved] = []
    fetching: list[tuple[int, Reference]] = []
    size = 0
    for record in records:
        reference, outcome = _read(record)
        size += len(record.body) if reference is None else reference.object.size
        if size > max_bytes and outcomes:
            break
        if reference is not None:
            fetching.append((len(outcomes), reference))
            resolved.keys.append(reference.object.key)
        outcomes.append(outcome)
        resolved.next_offset = record.position.next_offset

    async def fetch(place: int, reference: Reference) -> None:
        outcomes[place] = await _fetch(records[place], reference, storage)

    if fetching:
        try:
            async with anyio.create_task_group() as tasks:
                for place, reference in fetching:
                    tasks.start_soon(fetch, place, reference)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
    for outcome in outcomes:
        if isinstance(outcome, Record):
            resolved.records.append(outcome)
        else:
            resolved.unresolved.append(outcome)
    return resolved


def _read(record: Record) -> tuple[Reference | None, Record | Unresolved]:
    if record.headers.signal is not Signal.STORED:
        return None, record
    try:
        return Reference.from_record(record), record
    except InvalidInputError as error:
        return None, Unresolved(record, None, str(error))


async def _fetch(record: Record, reference: Reference, storage: ObjectStorage) -> Record | Unresolved:
    reason, found = "", b""
    for attempt in range(1, _TRIES + 1):
        try:
            found = await storage.get(reference.object.key)
            if xxhash.xxh3_128_hexdigest(found) == reference.object.checksum:
                headers = record.headers
                return Record(record.position, Headers(headers.project, reference.signal, headers.received_ns), found)
            reason = "is not what was put there"
        except (NotFoundError, CorruptionError) as error:
            reason = f"cannot be read: {error}"
        if attempt < _TRIES:
            await anyio.sleep(_PAUSE_S)
    _log.warning("a stored body is lost", extra={"key": reference.object.key, "reason": reason})
    return Unresolved(record, reference, f"the stored body {reason}", found)
