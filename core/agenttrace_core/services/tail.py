"""Reads the queue from the watermarks on, and decodes what it finds, a batch at a time.

A record that cannot be decoded costs nobody else anything: it is tried three times alone, and
becomes a dead letter then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

import pyarrow as pa

from agenttrace_core.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidInputError,
    UnavailableError,
)  # fmt: skip
from agenttrace_core.model.principal import DEFAULT_PROJECT, check_project
from agenttrace_core.model.segment import OffsetRange
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.ports.catalog import DeadLetter
from agenttrace_core.ports.queue import Headers, Position, Record, Signal, SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.schema.tables import LOGS, ROWS
from agenttrace_core.services.memory_of_writes import BodyMemory, body_hash
from agenttrace_core.services.refusals import LONGEST_REASON, RefusedInput
from agenttrace_core.services.stored_records import Unresolved, resolve
from agenttrace_core.wire.check import check_traces
from agenttrace_core.wire.columns import decode_records
from agenttrace_core.wire.log_columns import decode_log_records
from agenttrace_core.wire.status import Encoding

_log = logging.getLogger(__name__)

_POISON_TRIES = 3


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter before its bytes, which are a record of ``RefusedInput`` or nothing, are stored."""

    head: DeadLetter
    body: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """Records of several partitions, and the ranges of offsets that they, or what was damaged, span.

    Each record has its body, wherever that was kept; ``objects`` are the keys of those that were kept in the storage.
    ``unresolved`` are such as are not there. To a writer that is damage. To a reader that does not write it
    may be, and otherwise says that their writer has committed, and deleted them. ``offset_base`` is that of the
    catalog's snapshot. ``more`` is waiting behind some of the ranges.
    """

    records: Sequence[Record]
    ranges: tuple[OffsetRange, ...]
    letters: Sequence[Letter] = ()
    unresolved: Sequence[Unresolved] = ()
    objects: Sequence[str] = ()
    offset_base: int = 0
    more: bool = False
    silent: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """What was decoded from ``ranges``. ``rows`` is in ``ROWS``, ``logs`` in ``LOGS``, both in order of arrival.

    ``bodies`` are the hashes of the records that are in it, ``repeated`` counts those left out because they had
    been written before. ``objects`` are keys of bodies in the storage, to be deleted once this is committed.
    ``offset_base`` is in the rows' offsets, and not in those of ``ranges``.
    """

    ranges: tuple[OffsetRange, ...]
    rows: pa.Table
    logs: pa.Table
    letters: Sequence[Letter] = ()
    bodies: Sequence[bytes] = field(default=())
    repeated: int = 0
    objects: Sequence[str] = ()
    offset_base: int = 0


def check_queue(queue_id: UUID, end: Mapping[int, int], known_id: UUID | None, watermarks: Mapping[int, int]) -> None:
    """Refuse to go on with a queue that is not, or no longer, the one that the catalog was fed from.

    Raises:
        ConfigurationError: the queue is another one, or ends below a watermark: what it held is lost.
    """
    if known_id is not None and known_id != queue_id:
        raise ConfigurationError(
            f"the queue is {queue_id}, but the catalog was fed from {known_id}: the log or topic was made anew. "
            "Put the old one back, or start with an empty catalog"
        )
    for partition, watermark in watermarks.items():
        if end.get(partition, 0) < watermark:
            raise ConfigurationError(
                f"partition {partition} of the queue ends at {end.get(partition, 0)}, below the watermark {watermark}: "
                "records were lost. Put the log back, or start with an empty catalog"
            )


class Tail:
    """Where each partition has been read up to.

    Args:
        queue: what is read.
        storage: where the bodies are that were too long for it.
        watermarks: by partition, the offset to begin at.
        offset_base: that of the catalog's snapshot.
        partitions: those to read; all that there are by default.
    """

    def __init__(
        self,
        queue: SpanQueue,
        storage: ObjectStorage,
        watermarks: Mapping[int, int],
        *,
        offset_base: int,
        partitions: Collection[int] | None = None,
    ) -> None:
        self._queue = queue
        self._storage = storage
        self._next = dict(watermarks)
        self._offset_base = offset_base
        self._partitions = partitions

    @property
    def offsets(self) -> Mapping[int, int]:
        """The next offset to read, by partition."""
        return dict(self._next)

    async def read(self, max_bytes: int) -> Read:
        """Return what is there, of every partition its share of ``max_bytes``; at once, also if it is nothing.

        Raises:
            UnavailableError: something is there, and none of it can be read now. Nothing was passed over.
        """
        ends = await self._queue.end_offsets()
        waiting = [p for p, end in sorted(ends.items()) if end > self._next.get(p, 0) and self._is_ours(p)]
        pieces: list[Read] = []
        silent: dict[int, int] = {}
        away: UnavailableError | None = None
        for partition in waiting:
            try:
                piece = await self._read(partition, ends[partition], max_bytes // len(waiting))
                pieces.append(piece)
                if not piece.ranges:
                    silent[partition] = self._next.get(partition, 0)
            except UnavailableError as error:
                away = error
        if away is not None and not any(piece.ranges for piece in pieces):
            raise away
        self._next |= {r.partition: r.next for piece in pieces for r in piece.ranges}
        return Read(
            [record for piece in pieces for record in piece.records],
            tuple(r for piece in pieces for r in piece.ranges),
            [letter for piece in pieces for letter in piece.letters],
            [miss for piece in pieces for miss in piece.unresolved],
            [key for piece in pieces for key in piece.objects],
            self._offset_base,
            any(r.next < ends[r.partition] for piece in pieces for r in piece.ranges),
            silent,
        )

    def _is_ours(self, partition: int) -> bool:
        return self._partitions is None or partition in self._partitions

    async def _read(self, partition: int, end: int, max_bytes: int) -> Read:
        first = self._next.get(partition, 0)
        try:
            found = await self._queue.read(partition, first, max_bytes=max_bytes)
        except CorruptionError as damage:
            following = damage.skip_to if damage.skip_to is not None else end
            return Read((), (OffsetRange(partition, first, following),), [self._damaged(partition, first, damage)])
        resolved = await resolve(found, self._storage, max_bytes)
        if resolved.next_offset is None:
            return Read((), ())
        ranges = (OffsetRange(partition, first, resolved.next_offset),)
        return Read(resolved.records, ranges, (), resolved.unresolved, resolved.keys)

    def _damaged(self, partition: int, offset: int, damage: CorruptionError) -> Letter:
        _log.error("the log is damaged", extra={"partition": partition, "offset": offset, "error": str(damage)})
        letter_id = _letter_id(partition, offset + self._offset_base)
        reason = f"the log is damaged: {damage}"
        return Letter(DeadLetter(letter_id, DEFAULT_PROJECT, Signal.TRACES, time.time_ns(), reason, 0), b"")


def decode(read: Read, known: BodyMemory, pricing: Pricing = PACKAGE_PRICES) -> Batch:
    """Decode what was read, leaving out bodies that are ``known``. Takes its time: call it off the event loop."""
    fresh: dict[bytes, Record] = {}
    letters = [*read.letters]
    repeated = 0
    for record in read.records:
        if (fault := _fault(record.headers)) is not None:
            letters.append(_unfiled(record, fault, read.offset_base))
            continue
        digest = body_hash(record.headers.project + record.headers.signal, record.body)
        if digest in known or digest in fresh:
            repeated += 1
        else:
            fresh[digest] = record
    for miss in read.unresolved:
        if (fault := _fault(miss.record.headers)) is not None:
            letters.append(_unfiled(miss.record, fault, read.offset_base))
        elif miss.reference is not None and (miss.reference.digest in known or miss.reference.digest in fresh):
            repeated += 1
        else:  # and is not remembered: who sends it again brings the bytes
            letters.append(_lost(miss, read.offset_base))
    of: dict[Signal, list[Record]] = {signal: [] for signal in Signal}
    for record in fresh.values():
        of[record.headers.signal].append(record)
    base = read.offset_base
    letters += [_refused(record, base) for record in of[Signal.REFUSED]]
    of_traces = partial(decode_records, pricing=pricing, offset_base=base)
    poison: set[Position] = set()
    rows = _surviving(of_traces, of[Signal.TRACES], ROWS, letters, poison, base)
    logs = _surviving(partial(decode_log_records, offset_base=base), of[Signal.LOGS], LOGS, letters, poison, base)
    # What was not decoded is not remembered either: sent again, it is to be tried again.
    bodies = tuple(digest for digest, record in fresh.items() if record.position not in poison)
    return Batch(read.ranges, rows, logs, letters, bodies, repeated, read.objects, base)


def _surviving(
    decoder: Callable[[Sequence[Record]], pa.Table],
    records: list[Record],
    schema: pa.Schema,
    letters: list[Letter],
    poison: set[Position],
    offset_base: int,
) -> pa.Table:
    if not records:
        return schema.empty_table()
    try:
        return decoder(records)
    except Exception:  # noqa: BLE001 - whatever is wrong with one of them must not keep the others
        _log.warning("a batch of %d records does not decode; trying them one by one", len(records))
    tables: list[pa.Table] = []
    for record in records:
        table, error = _alone(decoder, record)
        if error is not None and record.headers.signal is Signal.TRACES:
            table, refusal = _storable(decoder, record, error)
            letters += [_letter(record, refusal, refusal.to_record()[1], offset_base)]
        elif error is not None:
            letters += [_poison(record, error, offset_base)]
        if table is None:
            poison.add(record.position)
        tables += [] if table is None else [table]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _alone(decoder: Callable[[Sequence[Record]], pa.Table], record: Record) -> tuple[pa.Table | None, Exception | None]:
    poison: Exception | None = None
    for _ in range(_POISON_TRIES):
        try:
            return decoder([record]), None
        except Exception as error:  # noqa: BLE001 - as above; a mended release can replay it
            poison = error
    _log.error("a record is poison", extra={"position": str(record.position)}, exc_info=poison)
    return None, poison


def _storable(
    decoder: Callable[[Sequence[Record]], pa.Table], record: Record, error: Exception
) -> tuple[pa.Table | None, RefusedInput]:
    """Part spans as a door would have, of a record that came by none: a bad span is to cost its neighbors nothing."""
    try:
        checked = check_traces(record.body)
    except InvalidInputError:
        return None, _undecoded(record, error)
    table, again = _alone(decoder, replace(record, body=checked.body)) if checked.accepted else (None, None)
    if again is not None or not checked.rejected:
        return None, _undecoded(record, error)
    headers = record.headers
    refused = RefusedInput(
        headers.project, headers.signal, headers.received_ns, checked.reason, checked.rejected, Encoding.PROTOBUF,
        checked.refused_body,
    )  # fmt: skip
    return table, refused


def _fault(headers: Headers) -> InvalidInputError | None:
    """Return why a record cannot be kept under what its headers say: whoever writes into the queue sets them."""
    try:
        check_project(headers.project)
    except InvalidInputError as error:
        return error
    in_range = -(1 << 63) <= headers.received_ns < 1 << 63
    return None if in_range else InvalidInputError(f"received_ns = {headers.received_ns} is not a time in 64 bits")


def _unfiled(record: Record, fault: InvalidInputError, offset_base: int) -> Letter:
    """Put a record whose headers are wrong with those of the default project, whole."""
    _log.error("a record has wrong headers", extra={"position": str(record.position), "error": str(fault)})
    headers = Headers(DEFAULT_PROJECT, record.headers.signal, time.time_ns())
    return _poison(replace(record, headers=headers), fault, offset_base)


def _poison(record: Record, error: Exception, offset_base: int) -> Letter:
    refusal = _undecoded(record, error)
    return _letter(record, refusal, refusal.to_record()[1], offset_base)


def _undecoded(record: Record, error: Exception) -> RefusedInput:
    return RefusedInput(
        project=record.headers.project,
        signal=record.headers.signal,
        received_ns=record.headers.received_ns,
        reason=f"could not be decoded: {error}",
        spans=0,
        encoding=Encoding.PROTOBUF,
        body=record.body,
    )


def _lost(miss: Unresolved, offset_base: int) -> Letter:
    headers = miss.record.headers
    refusal = RefusedInput(
        project=headers.project,
        signal=headers.signal if miss.reference is None else miss.reference.signal,
        received_ns=headers.received_ns,
        reason=miss.reason,
        spans=0,
        encoding=Encoding.PROTOBUF,
        body=miss.found,
    )
    return _letter(miss.record, refusal, refusal.to_record()[1], offset_base)


def _refused(record: Record, offset_base: int) -> Letter:
    try:
        return _letter(record, RefusedInput.from_record(record.body), record.body, offset_base)
    except InvalidInputError as error:
        return _poison(record, error, offset_base)


def _letter(record: Record, refusal: RefusedInput, body: bytes, offset_base: int) -> Letter:
    return Letter(
        DeadLetter(
            id=_letter_id(record.position.partition, record.position.offset + offset_base),
            project=record.headers.project,
            signal=refusal.signal,
            received_ns=refusal.received_ns,
            # It may hold what no catalog has a place for: halves of surrogate pairs.
            reason=refusal.reason[:LONGEST_REASON].encode("utf-8", "replace").decode(),
            spans=refusal.spans,
        ),
        body,
    )


def _letter_id(partition: int, offset: int) -> str:
    return f"{partition}-{offset}"
