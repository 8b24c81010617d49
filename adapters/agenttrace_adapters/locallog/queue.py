"""The span queue over the local log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, Self, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from agenttrace_adapters.locallog.appender import PartitionAppender, repair
from agenttrace_adapters.locallog.committer import GroupCommitter
from agenttrace_adapters.locallog.folder import LogFolder
from agenttrace_adapters.locallog.reader import PartitionReader
from agenttrace_adapters.locallog.record import Outgoing
from agenttrace_core.errors import ConfigurationError, PayloadTooLargeError, UnavailableError
from agenttrace_core.ports.queue import Headers, Position, QueueCapabilities, Record, SpanQueue

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = {"segment_bytes": 1 << 26, "max_record_bytes": 1 << 26}
_POLL_S = 0.01


class LocalLogQueue(SpanQueue):
    """``log:PATH``. Offsets are bytes; a partition is a folder, appended to by one process at a time.

    A process that only reads never claims a partition; one that appends does at its first
    append. ``?segment_bytes=`` (default 64 MiB) is how much is trimmed at once, and
    ``?max_record_bytes=`` (default 64 MiB) bounds a body.
    """

    def __init__(self, path: Path, *, segment_bytes: int, max_record_bytes: int) -> None:
        self._folder = LogFolder(path)
        self._segment_bytes = segment_bytes
        self._capabilities = QueueCapabilities(
            durable=True,
            multi_process=True,
            multi_machine=False,
            addressable=False,
            byte_offsets=True,
            max_record_bytes=max_record_bytes,
        )
        self._opened = False
        self._readers: dict[int, PartitionReader] = {}
        self._claiming: asyncio.Task[GroupCommitter] | None = None
        self._committer: GroupCommitter | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Make one from ``log:PATH?option=value``."""
        path, _, query = url.removeprefix("log:").partition("?")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path or path.startswith("//") or not url.startswith("log:"):
            raise ConfigurationError(f"queue = {url!r}: write log:PATH, such as log:/var/lib/agenttrace/log")
        return cls(Path(path), **{**_OPTIONS, **_parse_options(url, query)})

    @property
    def capabilities(self) -> QueueCapabilities:
        """Durable, read by other processes, and counted in bytes."""
        return self._capabilities

    @property
    def queue_id(self) -> UUID:
        """Kept in the folder's ``format.json``."""
        return self._folder.queue_id

    async def open(self) -> None:
        """Make or read the folder, and publish what a power cut left unpublished."""
        await self._blocking(self._folder.open)
        with suppress(UnavailableError):  # a reader of a read-only folder cannot repair it, and need not
            await self._blocking(repair, self._folder)
        self._opened = True

    async def aclose(self) -> None:
        """Commit what is under way, and let go of the partition."""
        self._opened = False
        claiming, self._claiming, self._committer = self._claiming, None, None
        if claiming is not None:
            with suppress(OSError):
                await (await claiming).aclose()
        readers, self._readers = self._readers, {}
        for reader in readers.values():
            reader.close()

    async def append(self, headers: Headers, body: bytes, *, partition: int | None = None) -> Position:
        """Store one record; appends under way at once share an fdatasync."""
        if len(body) > self._capabilities.max_record_bytes:
            raise PayloadTooLargeError(
                f"a record of {len(body)} bytes; the log takes at most {self._capabilities.max_record_bytes}"
            )
        record = Outgoing.of(headers, body)
        try:
            committer = self._committer or await self._claim()
            return await committer.append(record)
        except OSError as error:
            raise self._unavailable(error) from error

    async def read(self, partition: int, offset: int, *, max_bytes: int, wait_s: float = 0.0) -> Sequence[Record]:
        """Return records of one segment file; a record that begins in another one takes another call."""
        deadline = time.monotonic() + wait_s
        reader = self._reader(partition)
        while reader is None or reader.durable().end <= offset:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return []
            await asyncio.sleep(min(_POLL_S, remaining))
            reader = self._reader(partition)
        return await self._blocking(reader.read, offset, max_bytes)

    async def begin_offsets(self) -> Mapping[int, int]:
        """The first offset of the oldest segment file, by partition."""
        readers = self._all_readers()
        return await self._blocking(lambda: {n: r.begin() for n, r in readers.items()})

    async def end_offsets(self) -> Mapping[int, int]:
        """The published end, by partition."""
        return {n: r.durable().end for n, r in self._all_readers().items()}

    async def trim(self, partition: int, offset: int) -> None:
        """Delete segment files that lie wholly below ``offset``."""
        if (reader := self._reader(partition)) is not None:
            await self._blocking(reader.trim, offset)

    async def _claim(self) -> GroupCommitter:
        """Claim a partition, once for all who append; the first may hang up, and the others go on."""
        self._must_be_open()
        failed = self._claiming is not None and self._claiming.done() and self._claiming.exception() is not None
        if self._claiming is None or failed:
            self._claiming = asyncio.create_task(self._start())
        return await asyncio.shield(self._claiming)

    async def _start(self) -> GroupCommitter:
        appender = await asyncio.to_thread(PartitionAppender.claim, self._folder, segment_bytes=self._segment_bytes)
        self._committer = GroupCommitter(appender)
        return self._committer

    def _reader(self, partition: int) -> PartitionReader | None:
        self._must_be_open()
        return self._readers.get(partition) or self._all_readers().get(partition)

    def _all_readers(self) -> dict[int, PartitionReader]:
        """Return a reader for every partition there is by now."""
        self._must_be_open()
        try:
            for partition in self._folder.partitions():
                if partition.number not in self._readers and partition.end_path.exists():
                    self._readers[partition.number] = PartitionReader(partition, seed=self._folder.seed)
        except OSError as error:
            raise self._unavailable(error) from error
        return dict(sorted(self._readers.items()))

    def _must_be_open(self) -> None:
        if not self._opened:
            raise UnavailableError(f"the log in {self._folder.path} is not open")

    async def _blocking(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that uses the disk in a thread, and translate its errors."""
        try:
            return await asyncio.to_thread(function, *args, **kwargs)
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(f"the log in {self._folder.path} could not be used: {error}")


def _parse_options(url: str, query: str) -> dict[str, int]:
    options: dict[str, int] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise ConfigurationError(f"queue = {url!r}: no option {name!r}; known are {', '.join(_OPTIONS)}")
        if not value.isascii() or not value.isdigit() or int(value) == 0:
            raise ConfigurationError(f"queue = {url!r}: {name} is a number of bytes above 0, not {value!r}")
        options[name] = int(value)
    return options
