"""What two deployments hold, counted and compared, of which one was moved to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot, StoredObject, Superseded
from agenttrace_core.ports.catalog import DeadLetter, DeadLetters, MetadataStore
from agenttrace_core.schema.files import read_ipc_stream
from agenttrace_core.services.copy_objects import ObjectCopier

_LETTERS_AT_ONCE = 500
_ALL = 1 << 40

FilePlace = tuple[UUID, str]
"""A file, and a project with rows in it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How many there are of something, at the source and at the target."""

    what: str
    source: int
    target: int

    @property
    def is_same(self) -> bool:
        """Whether nothing is missing, and nothing is too much."""
        return self.source == self.target


class Told(Protocol):
    """What is told of the progress: of ``MigrateProgress``."""

    def begin(self, step: str, total_bytes: int) -> None:
        """A step begins."""

    def advance(self, size: int) -> None:
        """So many bytes are done."""


async def compared(
    source: MetadataStore, snapshot: Snapshot, target: MetadataStore, copier: ObjectCopier, told: Told
) -> list[Checked]:
    """Compare what two catalogs say, and read every object of the target."""
    there = await target.snapshot()
    letters, letters_there = await _all_letters(source), await _all_letters(target)
    bodies, bodies_there = await source.bodies(_ALL), await target.bodies(_ALL)
    objects = _objects(snapshot.files, letters.values())
    told.begin("check", sum(stored.size for stored in objects))
    whole = await copier.whole(objects, told.advance)
    files, files_there = {file.id: file for file in snapshot.files}, {file.id: file for file in there.files}
    same = sum(files_there.get(file_id) == file for file_id, file in files.items())
    gone, gone_there = superseded_of(snapshot), superseded_of(there)
    same_gone = sum(place in gone_there and is_same(gone_there[place], said) for place, said in gone.items())
    return [
        Checked("files", len(files), len(files_there)),
        Checked("files that are described alike", len(files), same),
        Checked("spans", _rows(files, FileKind.SPANS), _rows(files_there, FileKind.SPANS)),
        Checked("log records", _rows(files, FileKind.LOGS), _rows(files_there, FileKind.LOGS)),
        Checked("spans superseded", _superseded_rows(gone), _superseded_rows(gone_there)),
        Checked("corrections that are alike", len(gone), same_gone),
        Checked("dead letters", len(letters), sum(letters_there.get(k) == v for k, v in letters.items())),
        Checked("requests remembered", len(set(bodies)), len(set(bodies).intersection(bodies_there))),
        Checked("objects with their checksums", len(objects), whole),
        Checked("bytes", _bytes(objects), _bytes(_objects(there.files, letters_there.values()))),
    ]


async def letters_of(catalog: DeadLetters, project: str) -> AsyncIterator[DeadLetter]:
    """Iterate over all dead letters of a project, newest first."""
    before: str | None = None
    while True:
        page = await catalog.dead_letters(project, limit=_LETTERS_AT_ONCE, before=before)
        for letter in page:
            yield letter
        if len(page) < _LETTERS_AT_ONCE:
            return
        before = page[-1].id


def superseded_of(snapshot: Snapshot) -> dict[FilePlace, Superseded]:
    """Return what was superseded, by file and project."""
    return {(said.file_id, said.project): said for said in snapshot.superseded}


def is_same(one: Superseded, other: Superseded) -> bool:
    """Say whether two tell of the same rows, and take back the same sums."""
    if one.rows != other.rows or one.traces_ipc == other.traces_ipc:
        return one.rows == other.rows
    return bool(read_ipc_stream(one.traces_ipc).equals(read_ipc_stream(other.traces_ipc)))


async def _all_letters(catalog: MetadataStore) -> dict[str, DeadLetter]:
    projects = await catalog.projects_with_letters()
    return {letter.id: letter for project in projects async for letter in letters_of(catalog, project)}


def _objects(files: Iterable[SegmentFile], letters: Iterable[DeadLetter]) -> set[StoredObject]:
    kept = {letter.object for letter in letters if letter.object is not None}
    return kept.union(stored for file in files for stored in file.objects.values())


def _rows(files: Mapping[UUID, SegmentFile], kind: FileKind) -> int:
    return sum(file.rows for file in files.values() if file.kind is kind)


def _superseded_rows(superseded: Mapping[FilePlace, Superseded]) -> int:
    return sum(len(said.rows) for said in superseded.values())


def _bytes(objects: Iterable[StoredObject]) -> int:
    return sum(stored.size for stored in objects)
