"""Object storage in a bucket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from agenttrace_adapters.s3.connection import Connection
from agenttrace_adapters.s3.download import Downloader
from agenttrace_adapters.s3.failures import status_of, translated
from agenttrace_adapters.s3.options import S3Options
from agenttrace_adapters.s3.tiers import Tiers
from agenttrace_adapters.s3.upload import Body, Uploader
from agenttrace_core.errors import ArchivedError, InvalidInputError
from agenttrace_core.model.keys import check_key
from agenttrace_core.model.retention import Tier
from agenttrace_core.ports.storage import ObjectInfo, ObjectStorage, StorageCapabilities, TieredObjects

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import ListObjectsV2OutputTypeDef, ListObjectsV2RequestTypeDef

_PAGE = 1000
_ABANDONED_S = 86_400.0


class S3Storage(ObjectStorage, TieredObjects):
    """Objects under a prefix of a bucket, for any number of processes and machines.

    Args:
        options: where, and how they are written.
    """

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._stack: AsyncExitStack | None = None
        self._opened: Connection | None = None
        self._uploads: Uploader | None = None
        self._downloads: Downloader | None = None
        self._tiers: Tiers | None = None

    @classmethod
    def from_url(cls, url: str) -> S3Storage:
        """Make one from ``s3://bucket/prefix?option=value``; see ``S3Options``.

        Raises:
            ConfigurationError: the URL says anything else.
        """
        return cls(S3Options.from_url(url))

    @property
    def capabilities(self) -> StorageCapabilities:
        """Durable, and shared by processes."""
        return StorageCapabilities(durable=True, multi_process=True)

    async def open(self) -> None:
        """Find credentials, see whether the bucket is there, and abort what uploads others left a day ago.

        The prefix needs nothing.

        Raises:
            ConfigurationError: there is no such bucket, or the credentials are none or wrong.
            UnavailableError: the server does not answer.
        """
        async with AsyncExitStack() as stack:
            self._opened = await Connection.open(self._options, stack)
            self._uploads = Uploader(self._opened, self._options)
            self._tiers = Tiers(self._opened, self._options)
            self._downloads = Downloader(self._opened, self._options.bucket, self._options.part_bytes)
            await self._uploads.abandon(older_than_s=_ABANDONED_S)
            self._stack = stack.pop_all()

    async def aclose(self) -> None:
        """Close the connections."""
        stack, self._stack = self._stack, None
        self._opened = self._uploads = self._downloads = self._tiers = None
        if stack is not None:
            await stack.aclose()

    async def put(self, key: str, data: Sequence[memoryview | bytes]) -> None:
        """Store an object; see the port."""
        name = self._name(key)
        assert self._uploads is not None, "open() comes before use"
        with translated(f"putting {key!r}", self._connection.endpoint):
            await self._uploads.put(name, await Body.of(data))

    async def get(self, key: str) -> bytes:
        """Return a whole object, in parts side by side if it is long; see the port."""
        name = self._name(key)
        assert self._downloads is not None, "open() comes before use"
        with self._translated(key, "getting"):
            return await self._downloads.whole(name)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return ranges of one object, by as few requests as is quick, side by side; see the port."""
        name = self._name(key)
        assert self._downloads is not None, "open() comes before use"
        with self._translated(key, "getting"):
            return await self._downloads.ranges(name, ranges)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Iterate over objects by key, a page at a time; see the port."""
        whole = self._options.prefix + prefix
        after: str | None = None
        while True:
            with translated(f"listing {prefix!r}", self._connection.endpoint):
                page = await self._page(whole, after)
            for found in page.get("Contents", ()):
                key = found.get("Key", "").removeprefix(self._options.prefix)
                modified_ns = int(found["LastModified"].timestamp() * 1e9) if "LastModified" in found else 0
                if _is_key(key):
                    yield ObjectInfo(key, found.get("Size", 0), modified_ns)
            after = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not after:
                return

    async def delete(self, key: str) -> None:
        """Remove an object; see the port."""
        name = self._name(key)
        client, bucket = self._connection.client, self._options.bucket
        with translated(f"deleting {key!r}", self._connection.endpoint):
            try:
                await self._connection.requests.send(
                    f"deleting {key!r}", lambda: client.delete_object(Bucket=bucket, Key=name)
                )
            except ClientError as error:
                if status_of(error) != 404:
                    raise

    async def tier(self, key: str) -> Tier:
        """Return where an object lies; see the port."""
        async with self._tiering(key, "looking at") as tiers:
            return await tiers.tier(self._name(key))

    async def move(self, key: str, tier: Tier) -> None:
        """Put an object into another storage class; see the port."""
        async with self._tiering(key, "moving") as tiers:
            await tiers.move(self._name(key), tier)

    async def restore(self, key: str, *, days: int, is_urgent: bool) -> None:
        """Have an archived object made readable; see the port."""
        async with self._tiering(key, "restoring") as tiers:
            await tiers.restore(self._name(key), days=days, is_urgent=is_urgent)

    @asynccontextmanager
    async def _tiering(self, key: str, what: str) -> AsyncGenerator[Tiers]:
        assert self._tiers is not None, "open() comes before use"
        with self._translated(key, what):
            yield self._tiers

    @contextmanager
    def _translated(self, key: str, what: str) -> Generator[None]:
        """Translate what requests end with, and tell of keys without the prefix."""
        try:
            with translated(f"{what} {key!r}", self._connection.endpoint):
                yield
        except ArchivedError as error:
            raise ArchivedError(str(error), key=key) from error

    @property
    def _connection(self) -> Connection:
        assert self._opened is not None, "open() comes before use"
        return self._opened

    def _name(self, key: str) -> str:
        return self._options.prefix + check_key(key)

    async def _page(self, prefix: str, after: str | None) -> ListObjectsV2OutputTypeDef:
        client = self._connection.client
        asked: ListObjectsV2RequestTypeDef = {"Bucket": self._options.bucket, "Prefix": prefix, "MaxKeys": _PAGE}
        if after is not None:
            asked["ContinuationToken"] = after
        return await self._connection.requests.send(f"listing {prefix!r}", lambda: client.list_objects_v2(**asked))


def _is_key(key: str) -> bool:
    """Whether an object is one of ours: others may have put markers of folders beside them."""
    try:
        return bool(check_key(key))
    except InvalidInputError:
        return False
