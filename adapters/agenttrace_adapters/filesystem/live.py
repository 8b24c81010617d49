"""The live table as files that readers map into memory: a hand-over between processes without a copy.

A chunk is a few uncompressed Arrow IPC files of one record batch; ``manifest.json`` names those that
count, and is replaced by rename. A chunk is a cache of what the queue holds durably, so nothing
is fsynced; a manifest of before a reboot, whose chunks may be torn, is not believed.

::

    manifest.json
    epoch-<epoch>/<chunk>.rows.arrow
    epoch-<epoch>/<chunk>.logs.arrow          where the chunk has log records; flips and contexts likewise
    epoch-<epoch>/<chunk>.traces-<n>.arrow    n grows when a chunk's traces are corrected
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pyarrow as pa
from anyio import to_thread

from agenttrace_adapters.filesystem.files import path_of, translated
from agenttrace_adapters.filesystem.manifest import EXTRAS, ChunkEntry, Manifest
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.live import LiveChunk, LiveState, LiveTable

_MANIFEST = "manifest.json"
_EPOCH = "epoch-"
_READ_TRIES = 50


@dataclass(frozen=True, slots=True)
class _Shared:
    """A published chunk as readers have it, and where it is."""

    mapped: LiveChunk
    entry: ChunkEntry


class FilesystemLiveTable(LiveTable):
    """One publisher and any number of readers on one machine, meeting in a folder.

    The first ``publish`` of an epoch removes what other epochs left. Mapped tables outlive their
    files, so nothing waits for readers.

    Args:
        folder: made at ``open`` if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._shared: dict[str, _Shared] = {}
        self._epoch: str | None = None
        self._stamp_ns = 0
        self._seen: tuple[int, int, int] | None = None
        self._state = LiveState()
        self._mapped: dict[str, pa.Table] = {}

    @classmethod
    def from_url(cls, url: str) -> FilesystemLiveTable:
        """Make one from ``file:PATH``.

        Raises:
            ConfigurationError: the URL names no path.
        """
        return cls(path_of(url, "file:/var/lib/agenttrace/live"))

    async def open(self) -> None:
        """Make the folder."""
        with translated(f"live folder {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)

    async def aclose(self) -> None:
        """Let go of the mapped tables. What was published stays for readers."""
        self._shared, self._mapped = {}, {}
        self._epoch, self._seen, self._state = None, None, LiveState()

    async def publish(self, state: LiveState) -> LiveState:
        """Publish; see the port. A chunk whose ``traces`` changed has only those written again."""
        return await to_thread.run_sync(self._publish, state)

    async def current(self) -> LiveState:
        """Return the newest state; see the port.

        Raises:
            UnavailableError: the publisher replaces chunks faster than they can be opened.
        """
        # One stat of a local file: cheaper than the way to a thread, and the usual case.
        if self._stat() == self._seen:
            return self._state
        return await to_thread.run_sync(self._refresh)

    def _publish(self, state: LiveState) -> LiveState:
        with self._lock, translated(f"live folder {self._folder}"):
            folder = self._epoch_folder(state.epoch)
            if state.epoch != self._epoch:
                self._shared = {}
                folder.mkdir(parents=True, exist_ok=True)
            shared = {chunk.id: self._share(folder, chunk) for chunk in state.chunks}
            manifest = Manifest.of(state, [s.entry for s in shared.values()])
            self._replace_manifest(manifest.encode())
            is_first, self._epoch = state.epoch != self._epoch, state.epoch
            self._shared, before = shared, self._shared
            if is_first:
                self._remove_leftovers(folder)
            else:
                _unlink(folder, _files(before) - _files(shared))
            return replace(state, chunks=tuple(s.mapped for s in shared.values()))

    def _epoch_folder(self, epoch: str) -> Path:
        return self._folder / f"{_EPOCH}{quote(epoch, safe='')}"

    def _share(self, folder: Path, chunk: LiveChunk) -> _Shared:
        known = self._shared.get(chunk.id)
        if known is None:
            rows_file = f"{quote(chunk.id, safe='')}.rows.arrow"
            names = tuple(name for name in EXTRAS if len(getattr(chunk, name)))
            entry = ChunkEntry(chunk.id, chunk.ranges, rows_file, 0, names)
            rows = _share_table(folder / entry.rows_file, chunk.rows)
            extras: dict[str, Any] = {
                name: _share_table(folder / entry.extra_file(name), getattr(chunk, name)) for name in names
            }
        elif _is_same(chunk.traces, known):
            return known
        else:
            entry = replace(known.entry, revision=known.entry.revision + 1)
            rows = known.mapped.rows
            extras = {name: getattr(known.mapped, name) for name in entry.extras}
        traces = _share_table(folder / entry.traces_file, chunk.traces)
        return _Shared(replace(chunk, rows=rows, traces=traces, **extras), entry)

    def _replace_manifest(self, body: bytes) -> None:
        temp = self._folder / f"{uuid4().hex}.tmp"
        try:
            temp.write_bytes(body)
            # Readers tell manifests apart by stat alone; inodes are reused, and clocks tick slowly.
            self._stamp_ns = max(time.time_ns(), self._stamp_ns + 1)
            os.utime(temp, ns=(self._stamp_ns, self._stamp_ns))
            temp.replace(self._folder / _MANIFEST)
        finally:
            temp.unlink(missing_ok=True)

    def _remove_leftovers(self, folder: Path) -> None:
        for path in self._folder.iterdir():
            if path.name.startswith(_EPOCH) and path != folder:
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix == ".tmp":
                path.unlink(missing_ok=True)
        _unlink(folder, {path.name for path in folder.iterdir()} - _files(self._shared))

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            stat = (self._folder / _MANIFEST).stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _refresh(self) -> LiveState:
        with self._lock, translated(f"live folder {self._folder}"):
            for _ in range(_READ_TRIES):
                seen = self._stat()
                try:
                    state, mapped = self._load()
                except (FileNotFoundError, pa.ArrowInvalid):
                    continue  # the manifest was replaced, and its chunks removed, meanwhile
                self._seen, self._state, self._mapped = seen, state, mapped
                return state
        raise UnavailableError(f"live folder {self._folder}: a chunk that the manifest names is not there")

    def _load(self) -> tuple[LiveState, dict[str, pa.Table]]:
        try:
            body = (self._folder / _MANIFEST).read_bytes()
        except FileNotFoundError:
            return LiveState(), {}
        manifest = Manifest.decode(body)
        if manifest is None:
            return LiveState(), {}
        folder = self._epoch_folder(manifest.state.epoch)
        mapped = {
            str(path): self._mapped[str(path)] if str(path) in self._mapped else _map(path)
            for entry in manifest.chunks
            for path in (folder / name for name in entry.files)
        }
        chunks = tuple(_chunk(entry, folder, mapped) for entry in manifest.chunks)
        return replace(manifest.state, chunks=chunks), mapped


def _chunk(entry: ChunkEntry, folder: Path, mapped: Mapping[str, pa.Table]) -> LiveChunk:
    rows, traces = mapped[str(folder / entry.rows_file)], mapped[str(folder / entry.traces_file)]
    extras = {name: mapped[str(folder / entry.extra_file(name))] for name in entry.extras}
    return LiveChunk(entry.id, entry.ranges, rows, traces, **extras)


def _is_same(traces: pa.Table, known: _Shared) -> bool:
    return traces is known.mapped.traces or bool(traces.equals(known.mapped.traces))


def _share_table(path: Path, table: pa.Table) -> pa.Table:
    """Write a table as one record batch, and return it mapped.

    By way of another name: a file that a reader has mapped must never be written to.
    """
    temp = path.with_suffix(".tmp")
    try:
        with pa.OSFile(str(temp), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)
    return _map(path)


def _map(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _files(shared: Mapping[str, _Shared]) -> set[str]:
    return {name for s in shared.values() for name in s.entry.files}


def _unlink(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
