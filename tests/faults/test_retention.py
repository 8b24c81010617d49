"""What has expired goes, and nothing else. If these fail, disks fill up, or spans vanish before their time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agenttrace_adapters.memory import MemoryStorage
from agenttrace_core.errors import ArchivedError
from agenttrace_core.model.retention import Retention
from agenttrace_core.model.segment import SegmentFile
from agenttrace_core.ports.catalog import SegmentCatalog
from agenttrace_core.services.compact import CompactConfig, CompactService
from tests.faults.deployment import append, backends, compact_all, file_view, write_all
from tests.faults.spans import SpanSpec, now_ns, request

pytestmark = pytest.mark.anyio

DAY_S = 86_400


async def test_only_what_a_project_does_not_keep_any_longer_is_deleted(tmp_path: Path) -> None:
    old, new = now_ns() - 10 * DAY_S * 10**9, now_ns()
    for project in ("default", "other"):
        await append(
            tmp_path,
            request(SpanSpec(b"o" * 16, b"s" * 8, old, old + 5), SpanSpec(b"n" * 16, b"s" * 8, new, new + 5)),
            project=project,
        )
    await write_all(tmp_path)
    retention = Retention(expire_after_s=7 * DAY_S, projects={"other": 30 * DAY_S})
    await compact_all(tmp_path, CompactConfig(grace_s=0.0, retention=retention))
    async with backends(tmp_path) as b:
        view = await file_view(b)
        both = [(b"o" * 16).hex(), (b"n" * 16).hex()]
        left = {
            project: (await b.index.versions(view, project, both))["trace_id"].to_pylist()
            for project in ("default", "other")
        }
        assert left["default"] == [(b"n" * 16).hex()]
        assert sorted(left["other"]) == sorted(both)


async def test_a_file_of_which_all_has_expired_leaves_no_object(tmp_path: Path) -> None:
    old = now_ns() - 10 * DAY_S * 10**9
    await append(tmp_path, request(SpanSpec(b"o" * 16, b"s" * 8, old, old + 5)))
    await write_all(tmp_path)
    retention = Retention(expire_after_s=DAY_S)
    await compact_all(tmp_path, CompactConfig(grace_s=0.0, retention=retention))
    async with backends(tmp_path) as b:
        assert (await b.catalog.snapshot()).files == ()
        assert [info async for info in b.storage.list("spans/")] == []


class _Archive(MemoryStorage):
    """Objects of which some are archived."""

    archived: frozenset[str] = frozenset()

    async def get(self, key: str) -> bytes:
        if key in self.archived:
            raise ArchivedError("archived", key=key)
        return await super().get(key)


async def _write_two_old_and_two_new(folder: Path) -> None:
    """A file each, of which the two of an age may be merged."""
    old, new = now_ns() - 10 * DAY_S * 10**9, now_ns()
    for start in (old, old + 1, new, new + 1):
        await append(folder, request(SpanSpec(start.to_bytes(16, "big"), b"s" * 8, start, start + 5)))
        await write_all(folder)


async def _only_the_new_are_merged(
    service: CompactService, catalog: SegmentCatalog, files: Sequence[SegmentFile]
) -> None:
    merges = 0
    while await service.merge_once():
        merges += 1
    assert merges < 10
    left = {file.id for file in (await catalog.snapshot()).files}
    assert {file.id for file in files[:2]} <= left
    assert not {file.id for file in files[2:]} & left


async def test_what_is_archived_holds_up_no_merge(tmp_path: Path) -> None:
    """A compactor that ends, or tries the same file for ever, lets all others pile up."""
    await _write_two_old_and_two_new(tmp_path)
    async with backends(tmp_path) as b:
        files = (await b.catalog.snapshot()).files
        storage = _Archive()
        storage.archived = frozenset(file.objects["payload"].key for file in files[:2])
        for item in (item for file in files for item in file.objects.values()):
            await storage.put(item.key, [await b.storage.get(item.key)])
        service = CompactService(catalog=b.catalog, storage=storage, config=CompactConfig(fan_in=2, settle_s=0.0))
        await _only_the_new_are_merged(service, b.catalog, files)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
async def test_what_cannot_be_read_holds_up_no_merge(tmp_path: Path, harm: str) -> None:
    """One bad sector, and nothing would be merged or expire any more: a compactor would end at that file each time."""
    await _write_two_old_and_two_new(tmp_path)
    async with backends(tmp_path) as b:
        files = (await b.catalog.snapshot()).files
        path = b.storage.local_path(files[0].objects["payload"].key)
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(bytes(path.stat().st_size))
        service = CompactService(catalog=b.catalog, storage=b.storage, config=CompactConfig(fan_in=2, settle_s=0.0))
        await _only_the_new_are_merged(service, b.catalog, files)
