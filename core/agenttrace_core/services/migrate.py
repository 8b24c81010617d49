"""From one deployment to another: what its catalog says and what its storage holds, over ports alone.

Files keep their ids, keys and bytes. Each becomes live at the target in one transaction with what of it was
superseded, once its objects are there. So a run that is cut off anywhere is gone on with by the next, which
finds in the target what is left to do. The target may be used once all of it has been checked.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar
from uuid import UUID

from agenttrace_core.errors import ConfigurationError, ConflictError
from agenttrace_core.model.segment import SegmentFile, Snapshot, StoredObject, Superseded
from agenttrace_core.ports.catalog import Advance, Commit, DeadLetter, MetadataStore
from agenttrace_core.ports.queue import SpanQueue
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.schema.files import ipc_stream, read_ipc_stream
from agenttrace_core.services.copy_objects import ObjectCopier
from agenttrace_core.services.failpoint import Failpoint, no_failpoint
from agenttrace_core.services.migrate_check import Checked, compared, is_same, letters_of, superseded_of

_FILES_AT_ONCE = 50
_LETTERS_AT_ONCE = 200
_BODIES_AT_ONCE = 50_000
_ALL = 1 << 40

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where one deployment keeps what it knows. All of it is open."""

    queue: SpanQueue
    storage: ObjectStorage
    catalog: MetadataStore


class MigrateProgress(Protocol):
    """What is told of the progress."""

    @abstractmethod
    def begin(self, step: str, total_bytes: int) -> None:
        """``step`` begins, which has to do with so many bytes."""

    @abstractmethod
    def advance(self, size: int) -> None:
        """So many of them are done."""


class MigrateService:
    """Moves what one deployment holds to another, which is empty, or was being moved to from the same source.

    Neither may be running. What waits in the source's queue has to be in its files.

    Args:
        source: what is moved. It is not changed.
        target: where to.
        progress: is told of the progress.
        failpoint: called with the name of each step that a crash could part from the next; for tests.
    """

    def __init__(
        self,
        source: Deployment,
        target: Deployment,
        progress: MigrateProgress,
        *,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._source, self._target = source, target
        self._progress = progress
        self._failpoint = failpoint
        self._copier = ObjectCopier(source.storage, target.storage)

    async def run(self) -> Sequence[Checked]:
        """Move what is not there yet, check all of it, and let the target be used if nothing differs.

        Returns: what was compared; nothing where the move had been completed before.

        Raises:
            ConfigurationError: the target holds something else, or something waits in the source's queue.
            ConflictError: the source has changed meanwhile, so that there is more to be moved: run it again.
            CorruptionError, NotFoundError: an object of the source is damaged, or is not there.
            UnavailableError: a backend does not answer. What has been moved stays.
        """
        snapshot = await self._source.catalog.snapshot()
        ends = await self._waiting_for_nothing(snapshot)
        if not await self._begin():
            return ()
        self._failpoint("begun")
        await self._copier.look()
        await self._drop_what_is_gone(snapshot)
        await self._move_files(snapshot)
        await self._move_letters()
        await self._move_bodies()
        checked = await compared(self._source.catalog, snapshot, self._target.catalog, self._copier, self._progress)
        self._failpoint("checked")
        if (await self._source.catalog.version(), await self._source.queue.end_offsets()) != (snapshot.version, ends):
            raise ConflictError(
                "the source has changed meanwhile: stop all of its processes, those that take spans first, and run this"
                " again; what has been moved is not moved again"
            )
        if all(check.is_same for check in checked):
            await self._finish(snapshot, ends)
        return checked

    async def _waiting_for_nothing(self, snapshot: Snapshot) -> Mapping[int, int]:
        ends = await self._source.queue.end_offsets()
        if any(end > snapshot.watermarks.get(partition, 0) for partition, end in ends.items()):
            raise ConfigurationError(
                "something waits in the source's queue, and has to be in its files first: stop all of its processes,"
                " those that take spans first, and run this again"
            )
        return ends

    async def _begin(self) -> bool:
        source, begun = self._source.queue.queue_id, await self._target.catalog.move()
        if begun is not None and begun.finished and begun.source == source:
            return False
        try:
            await self._target.catalog.begin_move(source)
        except ConflictError as conflict:
            raise ConfigurationError(f"the target cannot take what the source holds: {conflict}") from conflict
        return True

    # -- files ------------------------------------------------------------------------------------

    async def _drop_what_is_gone(self, snapshot: Snapshot) -> None:
        """Drop files that the source has replaced since a run before."""
        there = await self._target.catalog.snapshot()
        wanted = {file.id for file in snapshot.files}
        gone = [file.id for file in there.files if file.id not in wanted]
        if gone:
            await self._target.catalog.replace(gone, [], version=there.version)

    async def _move_files(self, snapshot: Snapshot) -> None:
        there = await self._target.catalog.snapshot()
        known = {file.id for file in there.files}
        missing = [file for file in snapshot.files if file.id not in known]
        self._progress.begin("files", sum(file.size for file in missing))
        superseded, of_known = superseded_of(snapshot), superseded_of(there)
        later = [
            _since(said, of_known.get(place)) for place, said in superseded.items()
            if place[0] in known and not (place in of_known and is_same(of_known[place], said))
        ]  # fmt: skip
        if later:
            await self._commit(superseded=later)
        for files in _in_parts(missing, _FILES_AT_ONCE):
            await self._move(files, [said for (file_id, _), said in superseded.items() if file_id in _ids(files)])

    async def _move(self, files: Sequence[SegmentFile], superseded: Sequence[Superseded]) -> None:
        for file in files:
            await self._target.catalog.register(file.id, list(file.objects.values()))
        self._failpoint("registered")
        await self._copier.copy((o for file in files for o in file.objects.values()), self._progress.advance)
        self._failpoint("copied")
        await self._commit(files=files, superseded=superseded)
        self._failpoint("committed")

    # -- all else ---------------------------------------------------------------------------------

    async def _move_letters(self) -> None:
        for project in await self._target.catalog.projects_with_letters():
            kept = {letter.id async for letter in letters_of(self._source.catalog, project)}
            gone = [letter.id async for letter in letters_of(self._target.catalog, project) if letter.id not in kept]
            if gone:
                await self._target.catalog.drop_dead_letters(project, gone)
        for project in await self._source.catalog.projects_with_letters():
            known = {letter.id async for letter in letters_of(self._target.catalog, project)}
            missing = [letter async for letter in letters_of(self._source.catalog, project) if letter.id not in known]
            self._progress.begin(f"dead letters of {project}", sum(o.size for o in _objects(missing)))
            for letters in _in_parts(missing, _LETTERS_AT_ONCE):
                await self._copier.copy(_objects(letters), self._progress.advance)
                self._failpoint("letters copied")
                await self._commit(dead_letters=letters)

    async def _move_bodies(self) -> None:
        """Have the target know the requests that were written, for those who send them again."""
        bodies = list(await self._source.catalog.bodies(_ALL))
        there = list(await self._target.catalog.bodies(_ALL))
        begun = len(there) if bodies[: len(there)] == there else 0
        for part in _in_parts(bodies[begun:], _BODIES_AT_ONCE):
            await self._commit(bodies=part)
            self._failpoint("bodies")

    async def _finish(self, snapshot: Snapshot, ends: Mapping[int, int]) -> None:
        base = snapshot.offset_base
        if self._target.queue.queue_id == self._source.queue.queue_id:
            _, at = await self._target.catalog.watermarks()
            wanted = snapshot.watermarks.items()
            await self._commit(advances=[Advance(p, at.get(p, 0), mark) for p, mark in wanted if mark != at.get(p)])
        else:
            base += max([*ends.values(), *snapshot.watermarks.values()], default=0) + 1
        self._failpoint("finishing")
        await self._target.catalog.end_move(base)

    async def _commit(
        self,
        *,
        advances: Sequence[Advance] = (),
        files: Sequence[SegmentFile] = (),
        superseded: Sequence[Superseded] = (),
        bodies: Sequence[bytes] = (),
        dead_letters: Sequence[DeadLetter] = (),
    ) -> None:
        queue_id = self._target.queue.queue_id
        await self._target.catalog.commit(
            Commit(queue_id, advances, files, superseded=superseded, bodies=bodies, dead_letters=dead_letters)
        )


def _since(now: Superseded, before: Superseded | None) -> Superseded:
    """Return what was superseded of a file after a run before.

    Raises:
        ConflictError: what was known then is not the beginning of what is known now.
    """
    if before is None:
        return now
    sums, known = read_ipc_stream(now.traces_ipc), read_ipc_stream(before.traces_ipc)
    rows = set(now.rows)
    if not rows.issuperset(before.rows) or not sums.slice(0, len(known)).equals(known):
        raise ConflictError(f"what counts in file {now.file_id} was changed: begin again with an empty target")
    return replace(now, rows=tuple(sorted(rows.difference(before.rows))), traces_ipc=ipc_stream(sums.slice(len(known))))


def _in_parts(items: Sequence[T], length: int) -> list[Sequence[T]]:
    return [items[at : at + length] for at in range(0, len(items), length)]


def _ids(files: Sequence[SegmentFile]) -> set[UUID]:
    return {file.id for file in files}


def _objects(letters: Sequence[DeadLetter]) -> list[StoredObject]:
    return [letter.object for letter in letters if letter.object is not None]
