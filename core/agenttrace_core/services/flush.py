"""A sealed group of live chunks into files, and the commit that makes them count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import anyio
import numpy as np
import pyarrow as pa
import xxhash

from agenttrace_core.model.segment import FileKind, Segment, SegmentFile, StoredObject, Superseded, file_id
from agenttrace_core.normalise.rules import VERSION
from agenttrace_core.ports.catalog import Advance, Commit, DeadLetter, SegmentCatalog
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.files import PASSING_LEVEL, encode_spans_file, ipc_file, ipc_stream
from agenttrace_core.schema.log_files import encode_logs_file
from agenttrace_core.schema.traces import negated, trace_sums
from agenttrace_core.services.absorber import Absorber
from agenttrace_core.services.live_group import LateDeath, LiveGroup, SealedRows


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A file before it is stored: its description, and the bytes of its objects by name."""

    file: SegmentFile
    data: Mapping[str, pa.Buffer]


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """The files of a group. ``row_in_file`` says, for each sealed row, which row of the file it became."""

    files: Sequence[EncodedFile]
    sealed: SealedRows
    row_in_file: Int64s


def encode_group(queue_id: UUID, group: LiveGroup, sealed: SealedRows, attempt: int = 0) -> EncodedGroup:
    """Encode a sealed group. Takes its time: call it off the event loop."""
    ranges = group.offset_ranges
    files: list[EncodedFile] = []
    row_in_file = np.zeros(0, np.int64)
    if len(sealed.rows):
        absorber = Absorber(sealed.flips, sealed.contexts)
        absorber.leave(sealed.dead)
        spans = encode_spans_file(absorber.absorb(sealed.rows), PASSING_LEVEL)
        row_in_file = np.argsort(spans.order)
        name = file_id(queue_id, ranges, FileKind.SPANS, VERSION, attempt)
        objects = {**spans.objects, **change_objects(absorber.flips(), absorber.contexts())}
        files.append(encoded_file(name, FileKind.SPANS, 0, objects, spans.segments))
    logs = group.log_rows()
    if len(logs):
        name = file_id(queue_id, ranges, FileKind.LOGS, VERSION, attempt)
        records = encode_logs_file(logs)
        files.append(encoded_file(name, FileKind.LOGS, 0, records.objects, records.segments))
    return EncodedGroup(files, sealed, row_in_file)


def change_objects(flips: pa.Table, contexts: pa.Table) -> dict[str, pa.Buffer]:
    """Encode what a file says of rows written before, as far as it says anything."""
    return {name: ipc_file(table) for name, table in (("flips", flips), ("contexts", contexts)) if len(table)}


def encoded_file(
    name: UUID,
    kind: FileKind,
    level: int,
    data: Mapping[str, pa.Buffer],
    segments: tuple[Segment, ...],
    normaliser: str | None = None,
) -> EncodedFile:
    """Describe encoded objects; ``normaliser`` is the version of the rules that made its rows: by default that of now.

    A key holds its checksum, so that a file made anew with other bytes takes another key, and an
    object that somebody may be reading is never written over.
    """
    suffix = {
        "light": "parquet",
        "payload": "parquet",
        "attributes": "parquet",
        "traces": "arrow",
        "rollup": "arrow",
        "grams": "arrow",
        "flips": "arrow",
        "contexts": "arrow",
        "records": "parquet",
        "scores": "parquet",
    }
    objects: dict[str, StoredObject] = {}
    for part, buffer in data.items():
        checksum = xxhash.xxh3_128_hexdigest(buffer)
        key = f"{kind}/{name.hex[:2]}/{name}-{checksum[:12]}.{part}.{suffix[part]}"
        objects[part] = StoredObject(key, buffer.size, checksum)
    return EncodedFile(SegmentFile(name, kind, level, normaliser or VERSION, objects, segments), data)


async def store_files(files: Sequence[EncodedFile], catalog: SegmentCatalog, storage: ObjectStorage) -> None:
    """Register files as pending, then put their objects. Idempotent.

    Raises:
        UnavailableError: the catalog or the storage does not answer, or is full.
        ConflictError: a file of that name is live already.
    """
    for encoded in files:
        await catalog.register(encoded.file.id, list(encoded.file.objects.values()))
        try:
            # Side by side: most of a put is waiting for the disk.
            async with anyio.create_task_group() as tasks:
                for part, stored in encoded.file.objects.items():
                    tasks.start_soon(storage.put, stored.key, [memoryview(encoded.data[part])])
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures


async def store_letters(group: LiveGroup, storage: ObjectStorage) -> list[DeadLetter]:
    """Put the bytes of a group's dead letters, and return the letters with where those are."""
    stored: list[DeadLetter] = []
    for letter in group.letters:
        head = letter.head
        where = None
        if letter.body:
            checksum = xxhash.xxh3_128_hexdigest(letter.body)
            where = StoredObject(f"dead-letters/{head.project}/{head.id}-{checksum[:12]}", len(letter.body), checksum)
            await storage.put(where.key, [letter.body])
        stored.append(DeadLetter(head.id, head.project, head.signal, head.received_ns, head.reason, head.spans, where))
    return stored


def commit_of(queue_id: UUID, group: LiveGroup, encoded: EncodedGroup, letters: Sequence[DeadLetter]) -> Commit:
    """Return the commit that makes an encoded group count, with what has died in it since it was sealed."""
    return Commit(
        queue_id=queue_id,
        advances=[Advance(r.partition, r.first, r.next) for r in group.offset_ranges],
        files=[f.file for f in encoded.files],
        superseded=[*group.superseded, *superseded_late(encoded, group.late_dead)],
        bodies=group.bodies,
        dead_letters=letters,
    )


def superseded_late(encoded: EncodedGroup, deaths: Sequence[LateDeath]) -> list[Superseded]:
    """Describe rows of a group's file that died after it was sealed."""
    if not deaths:
        return []
    sealed = np.concatenate([encoded.sealed.place[death.chunk][death.rows] for death in deaths])
    light = pa.concat_tables([death.light for death in deaths])
    return superseded_rows(encoded.files[0].file.id, light, encoded.row_in_file[sealed])


def superseded_rows(name: UUID, light: pa.Table, rows: Int64s) -> list[Superseded]:
    """Describe rows of one file that no longer count: one item a project.

    ``light`` is what they are by now (``SUMMED_COLUMNS`` and those of ``RowKeys``), ``rows`` their numbers.
    """
    projects = np.array(light["project"].to_pylist(), object)
    found: list[Superseded] = []
    for project in dict.fromkeys(projects):
        mine = projects == project
        sums = negated(trace_sums(light.filter(pa.array(mine))))
        found.append(Superseded(name, project, tuple(sorted(rows[mine].tolist())), ipc_stream(sums)))
    return found
