"""Object storage: immutable blobs by key."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from agenttrace_core.model.retention import Tier
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.ports.adapter import Adapter


@dataclass(frozen=True, slots=True)
class StorageCapabilities:
    """What a storage can do beyond the port's methods."""

    durable: bool
    """What ``put`` acknowledged is there after the process was killed and opened again."""
    multi_process: bool
    """Other processes see the same objects."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A stored object. ``modified_ns`` is nanoseconds since the epoch, by the storage's clock."""

    key: str
    size: int
    modified_ns: int


class ObjectStorage(Adapter, Protocol):
    """Blobs that are written once. A key is ``/``-separated segments of ``[A-Za-z0-9._=-]``.

    An object is listed and read only once it is whole. Keys that could escape the storage
    (empty segments, ``.``, ``..``) raise ``InvalidInputError``.
    """

    @property
    @abstractmethod
    def capabilities(self) -> StorageCapabilities:
        """Constant over the adapter's life."""

    @abstractmethod
    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        """Store the concatenation of ``data`` under ``key``, and return once it is durable.

        Atomic: other callers see all of it or nothing. Idempotent: storing the same bytes again
        succeeds and changes nothing.

        Raises:
            AlreadyExistsError: the key holds other bytes; they are kept.
            UnavailableError: it could not be made durable.
        """

    @abstractmethod
    async def get(self, key: str) -> bytes:
        """Return the whole object.

        Raises:
            NotFoundError: there is none by that key.
        """

    @abstractmethod
    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return ``(offset, length)`` ranges of one object, in the order asked.

        Raises:
            NotFoundError: there is no such object.
            InvalidInputError: a range leaves the object.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Iterate over the whole objects whose key begins with ``prefix``, by key."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove an object. Idempotent."""


@runtime_checkable
class LocalObjects(Protocol):
    """The optional ability of a storage whose objects are files of this machine."""

    def local_path(self, key: str) -> Path:
        """Return where the object is, whether or not it exists. The file must not be written to."""
        ...


@runtime_checkable
class TieredObjects(Protocol):
    """The optional ability of a storage to keep objects in tiers. Who reads an archived one gets ``ArchivedError``.

    A move changes neither an object's bytes nor its key, and readers who are at it get what they asked for.
    """

    @abstractmethod
    async def tier(self, key: str) -> Tier:
        """Return where an object lies.

        Raises:
            NotFoundError: there is none by that key.
        """

    @abstractmethod
    async def move(self, key: str, tier: Tier) -> None:
        """Put an object into a tier. Idempotent.

        Raises:
            NotFoundError: there is none by that key.
            ArchivedError: it has to be restored before it can be moved.
            ConfigurationError: the server has no such tier.
        """

    @abstractmethod
    async def restore(self, key: str, *, days: int, is_urgent: bool) -> None:
        """Have an archived object made readable for some days. Idempotent, also while it is under way.

        Raises:
            NotFoundError: there is none by that key.
        """


class LocalCopy(Protocol):
    """A file with the bytes of an object, which stays where it is until it is released."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """Where it is. It must not be written to. What is open or mapped outlives the release."""

    @abstractmethod
    def release(self) -> None:
        """Allow the file to go. Idempotent."""


@runtime_checkable
class CopiedObjects(Protocol):
    """The optional ability of a storage that is elsewhere to keep copies of its objects on this machine."""

    @abstractmethod
    async def copy(self, item: StoredObject) -> LocalCopy:
        """Return a copy whose checksum is the object's, fetched if there is none. The caller releases it.

        Raises:
            NotFoundError: the storage has no such object.
            CorruptionError: what the storage has is not what was stored.
            UnavailableError: the storage does not answer, or there is no room on this machine.
        """

    @abstractmethod
    async def copied(self, item: StoredObject) -> LocalCopy | None:
        """Return the copy that there is, None if it would have to be fetched. The caller releases it."""
