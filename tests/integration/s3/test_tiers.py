"""Payloads by age in storage classes, and what becomes of those who want to read what is archived."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

import pytest

from agenttrace_adapters.s3 import S3Storage
from agenttrace_contracts.base import opened
from agenttrace_core.errors import ArchivedError, ConfigurationError, NotFoundError
from agenttrace_core.model.retention import Tier, TierAges, Tiering
from agenttrace_core.model.segment import FileKind, Segment, SegmentFile, Snapshot, StoredObject
from agenttrace_core.services.tiers import PayloadTiers, restoring
from tests.servers.archive_proxy import ArchiveProxy
from tests.servers.s3 import S3Bucket

pytestmark = pytest.mark.anyio

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_PART = 5 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def storage(
    versitygw_bucket: S3Bucket, archive: ArchiveProxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[S3Storage]:
    for name, value in archive.place.environment().items():
        monkeypatch.setenv(name, value)
    bucket = replace(versitygw_bucket, place=archive.place)
    async with opened(S3Storage.from_url(f"{bucket.url()}?part_bytes={_PART}")) as storage:
        yield storage


async def test_an_object_goes_through_the_tiers(storage: S3Storage, archive: ArchiveProxy) -> None:
    """A move that changes a byte, or the checksum beside them, is found out when the object is restored."""
    await storage.put("a", [b"bytes"])
    assert await storage.tier("a") is Tier.STANDARD
    for tier in (Tier.INFREQUENT, Tier.STANDARD, Tier.INFREQUENT):
        await storage.move("a", tier)
        await storage.move("a", tier)
        assert await storage.tier("a") is tier
        assert await storage.get("a") == b"bytes"
    await storage.move("a", Tier.GLACIER)
    assert set(archive.classes.values()) == {"GLACIER"}
    with pytest.raises(ArchivedError) as refused:
        await storage.get("a")
    assert refused.value.key == "a"
    with pytest.raises(ArchivedError):
        await storage.get_ranges("a", [(0, 2)])
    with pytest.raises(ArchivedError):
        await storage.move("a", Tier.DEEP_ARCHIVE)
    await storage.put("a", [b"bytes"])  # the same again: nothing is to be read for that
    for _ in range(2):
        await storage.restore("a", days=1, is_urgent=True)
    with pytest.raises(ArchivedError):
        await storage.get("a")
    archive.finish_restores()
    assert await storage.get("a") == b"bytes"
    await storage.move("a", Tier.DEEP_ARCHIVE)
    assert await storage.tier("a") is Tier.DEEP_ARCHIVE
    await storage.delete("a")
    for call in (storage.tier("a"), storage.move("a", Tier.GLACIER), storage.restore("a", days=1, is_urgent=False)):
        with pytest.raises(NotFoundError):
            await call


async def test_a_long_object_is_moved_in_parts(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy in one request ends at 5 GiB."""
    monkeypatch.setattr("agenttrace_adapters.s3.tiers._MOST_COPIED_BYTES", _PART)
    monkeypatch.setattr("agenttrace_adapters.s3.tiers._PART_BYTES", _PART)
    body = b"0123456789abcdef" * (12 << 16)
    await storage.put("a", [body])
    await storage.move("a", Tier.INFREQUENT)
    assert await storage.tier("a") is Tier.INFREQUENT
    assert await storage.get("a") == body
    await storage.put("a", [body])


async def test_a_server_without_such_classes_is_told_of(
    minio_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MinIO has none of them: an operator who asked for tiers must hear of it, and nothing else must stop."""
    for name, value in minio_bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    async with opened(S3Storage.from_url(minio_bucket.url())) as storage:
        await storage.put("p", [b"x" * 10])
        with pytest.raises(ConfigurationError, match="InvalidStorageClass"):
            await storage.move("p", Tier.GLACIER)
        tiers = PayloadTiers(storage, Tiering(), least_bytes=1)
        await tiers.move_some(_snapshot(_file("p", {"default": 40})), time.time_ns())
        assert await storage.get("p") == b"x" * 10


# --- Which payloads go where ----------------------------------------------------------------------


def _file(key: str, days: dict[str, int]) -> SegmentFile:
    """Describe a file whose payload is ``key``, with a window of each project, so many days old."""
    now = time.time_ns()
    segments = tuple(Segment(p, now - d * _DAY_NS - _HOUR_NS, 0, 1, 0, 1, 0, 0, 1) for p, d in days.items())
    objects = {"payload": StoredObject(key, 10, "00"), "light": StoredObject(f"{key}-light", 10, "00")}
    return SegmentFile(uuid5(NAMESPACE_URL, key), FileKind.SPANS, 1, "", objects, segments)


def _snapshot(*files: SegmentFile) -> Snapshot:
    return Snapshot(1, {}, files)


async def test_payloads_go_by_age_and_by_the_project_that_keeps_them_warmest(
    storage: S3Storage, archive: ArchiveProxy
) -> None:
    """An object that several projects share must not be archived for one of them; light rows must never be."""
    files = [
        _file("new", {"default": 1}),
        _file("week", {"default": 8}),
        _file("month", {"default": 31}),
        _file("year", {"default": 400}),
        _file("shared", {"default": 400, "other": 400}),
        _file("mixed", {"default": 400, "third": 8}),
    ]
    for file in files:
        for item in file.objects.values():
            await storage.put(item.key, [b"0123456789"])
    tiering = Tiering(projects={"other": TierAges(infrequent_s=86_400.0, glacier_s=None, deep_archive_s=None)})
    tiers = PayloadTiers(storage, tiering, least_bytes=1)
    assert await tiers.move_some(_snapshot(*files), time.time_ns()) == 5
    found = {file.objects["payload"].key: await storage.tier(file.objects["payload"].key) for file in files}
    assert found == {
        "new": Tier.STANDARD, "week": Tier.INFREQUENT, "month": Tier.GLACIER, "year": Tier.DEEP_ARCHIVE,
        "shared": Tier.INFREQUENT, "mixed": Tier.INFREQUENT,
    }  # fmt: skip
    assert not any(path.endswith("-light") for path in archive.classes)
    archive.forget()
    assert await tiers.move_some(_snapshot(*files), time.time_ns()) == 0
    assert archive.asked == []


async def test_from_one_archive_to_the_next_through_a_restore(storage: S3Storage, archive: ArchiveProxy) -> None:
    """A copy reads what it copies. Without the restore, nothing would ever come to the cheapest tier."""
    file, now = _file("p", {"default": 100}), time.time_ns()
    await storage.put("p", [b"0123456789"])
    await storage.move("p", Tier.GLACIER)
    tiers = PayloadTiers(storage, Tiering(), least_bytes=1)
    await tiers.move_some(_snapshot(file), now)
    assert len(archive.restoring) == 1
    assert await tiers.move_some(_snapshot(file), now) == 0
    archive.finish_restores()
    assert await tiers.move_some(_snapshot(file), now + 2 * _HOUR_NS) == 1
    assert await storage.tier("p") is Tier.DEEP_ARCHIVE


async def test_who_reads_what_is_archived_has_it_restored(storage: S3Storage, archive: ArchiveProxy) -> None:
    """An answer that only says no leaves everybody to the console of their cloud."""
    await storage.put("p", [b"0123456789"])
    await storage.move("p", Tier.DEEP_ARCHIVE)
    for _ in range(2):
        with pytest.raises(ArchivedError, match="a restore is under way"):
            async with restoring(storage):
                await storage.get("p")
    archive.finish_restores()
    async with restoring(storage):
        assert await storage.get("p") == b"0123456789"
