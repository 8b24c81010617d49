"""The metadata store's first part: which files count, up to which offset, and what was refused."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID, uuid4

from agenttrace_core.model.segment import SegmentFile, Snapshot, StoredObject, Superseded
from agenttrace_core.ports.adapter import Adapter


@dataclass(frozen=True, slots=True)
class CatalogCapabilities:
    """What a catalog can do beyond the port's methods."""

    durable: bool
    """What was committed is there after the process was killed and opened again."""
    multi_process: bool
    """Other processes see and compete for the same catalog."""


@dataclass(frozen=True, slots=True)
class Advance:
    """A compare-and-set of one partition's watermark. A partition never seen has watermark ``expected=0``."""

    partition: int
    expected: int
    next: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that was refused or could not be decoded, kept so that it can be looked at and sent again.

    ``id`` is unique within the queue (``partition-offset``). ``object`` is where its bytes are,
    None if they were not kept. ``spans`` counts what was refused, 0 if unknown.
    """

    id: str
    project: str
    signal: str
    received_ns: int
    reason: str
    spans: int
    object: StoredObject | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """What one flush changes, all or nothing.

    ``files`` must be pending. ``bodies`` are hashes of record bodies (16 bytes, already made to
    differ by project), in the order written, by which a repeated body is known later. ``id`` is
    what a catalog knows the commit by when it is sent again, its answer having been lost.
    """

    queue_id: UUID
    advances: Sequence[Advance]
    files: Sequence[SegmentFile] = ()
    superseded: Sequence[Superseded] = ()
    bodies: Sequence[bytes] = ()
    dead_letters: Sequence[DeadLetter] = ()
    id: UUID = field(default_factory=uuid4, compare=False)


class SegmentCatalog(Adapter, Protocol):
    """The one place that says which files are live. Every change is one serialisable transaction."""

    @property
    @abstractmethod
    def capabilities(self) -> CatalogCapabilities:
        """Constant over the adapter's life."""

    @abstractmethod
    async def register(self, file_id: UUID, objects: Sequence[StoredObject]) -> None:
        """Record, durably and before their upload, objects that a commit may later make live.

        Idempotent while pending: registering again replaces the list of objects.

        Raises:
            ConflictError: ``file_id`` is live or condemned.
        """

    @abstractmethod
    async def commit(self, commit: Commit) -> int:
        """Advance the watermarks and make the files live, in one transaction. Return the new version.

        Idempotent by the commit's id: if it has gone through before, nothing changes, and the
        version that it made is returned. So a caller that got UnavailableError, and cannot know
        whether it went through, sends the same commit again.

        Raises:
            WatermarkConflictError: a watermark is not as expected, or belongs to another queue.
                Nothing was changed.
            ConflictError: a file is not pending any more, or a superseded row's file is not live.
                Nothing was changed.
        """

    @abstractmethod
    async def replace(self, old: Sequence[UUID], new: Sequence[SegmentFile], *, version: int) -> int:
        """Make ``new`` (pending) live and ``old`` dead, in one transaction. Return the new version.

        ``version`` is that of the snapshot from which ``new`` was made. Dead files are condemned:
        ``condemned`` lists them once the grace period is over.

        Raises:
            ConflictError: one of ``old`` is not live, or rows of it were superseded after
                ``version``, or one of ``new`` is not pending. Nothing was changed.
        """

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """Return the catalog at this moment."""

    @abstractmethod
    async def version(self) -> int:
        """Return the version of the newest commit; cheap enough to poll fifty times a second."""

    @abstractmethod
    async def condemned(self, *, grace_s: float) -> Sequence[StoredObject]:
        """Condemn pending files registered, and list condemned objects dead, for over ``grace_s`` seconds.

        What is condemned can never become live. Objects that a live file also names are not listed.
        """

    @abstractmethod
    async def forget(self, keys: Sequence[str]) -> None:
        """Drop condemned objects that have been deleted from storage. Idempotent."""


class WriterMemory(Protocol):
    """What a writer asks its catalog besides: bodies it has written, letters it could not."""

    @abstractmethod
    async def bodies(self, limit: int) -> Sequence[bytes]:
        """Return the newest ``limit`` body hashes committed, oldest first. Older ones may be forgotten."""

    @abstractmethod
    async def watermarks(self) -> tuple[UUID | None, Mapping[int, int]]:
        """Return the queue's id (None before the first commit) and the watermark of every partition."""


class DeadLetters(Protocol):
    """The refused and poisoned, by project; bounded by number and age."""

    @abstractmethod
    async def dead_letters(self, project: str, *, limit: int, before: str | None = None) -> Sequence[DeadLetter]:
        """Return the newest first; ``before`` is the id after which to go on."""

    @abstractmethod
    async def projects_with_letters(self) -> Sequence[str]:
        """Return the names of all projects that have any, in order."""

    @abstractmethod
    async def dead_letter(self, project: str, letter_id: str) -> DeadLetter:
        """Return one.

        Raises:
            NotFoundError: the project has none by that id.
        """

    @abstractmethod
    async def drop_dead_letters(self, project: str, ids: Sequence[str]) -> None:
        """Forget letters, replayed or too old. Their objects are condemned. Idempotent."""


@dataclass(frozen=True, slots=True)
class Move:
    """That what a catalog began with came from another deployment, whose queue was ``source``.

    It may be used once it is ``finished``. ``offset_base`` is that of ``Snapshot``.
    """

    source: UUID
    finished: bool = False
    offset_base: int = 0


class Moves(Protocol):
    """What says that a catalog is being filled with what another deployment held, or has been."""

    @abstractmethod
    async def move(self) -> Move | None:
        """Return how the catalog began; None for one that began empty."""

    @abstractmethod
    async def begin_move(self, source: UUID) -> None:
        """Say that all that is committed from now on comes from ``source``. Idempotent while it is not finished.

        Raises:
            ConflictError: something was committed before, or moved from elsewhere, or the move is finished.
        """

    @abstractmethod
    async def end_move(self, offset_base: int) -> None:
        """Say that all is there, with a new version. ``offset_base`` is above every offset that a row has.

        Raises:
            ConflictError: no move has begun, or it is finished.
        """


class Secrets(Protocol):
    """Secrets that all processes of one deployment share, made at first use."""

    @abstractmethod
    async def secret(self, name: str) -> bytes:
        """Return 32 random bytes, the same for every caller and for ever."""


class Leases(Protocol):
    """Who does what, among processes that could all do it. By the catalog's clock, which all of them share.

    A lease keeps work from being done twice for nothing. It is no fence: its holder may have been
    suspended past its end, and what it does then must fail by compare-and-set.
    """

    @abstractmethod
    async def lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take ``name`` for ``holder``, or renew it, for ``ttl_s`` seconds from now. False if another has it."""

    @abstractmethod
    async def release(self, name: str, holder: str) -> None:
        """Give up a lease, if ``holder`` has it. Idempotent."""

    @abstractmethod
    async def leases(self, prefix: str = "") -> Mapping[str, str]:
        """Return the holder of every lease that has not ended, by name, of the names that begin so."""


class MetadataStore(SegmentCatalog, WriterMemory, DeadLetters, Secrets, Leases, Moves, Protocol):
    """All that one metadata adapter provides."""
