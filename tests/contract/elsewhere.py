"""Storages that are elsewhere, for suites that read from one: with copies on this machine, and on S3."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agenttrace_adapters.filesystem import CopiedStorage
from agenttrace_adapters.s3 import S3Storage
from agenttrace_contracts.base import opened
from agenttrace_contracts.index_world import FolderObjects
from tests.servers.s3 import S3Bucket

BY_RANGES = "duckdb:?threads=1&whole_bytes=1"
"""An index that fetches nothing whole that it can read by ranges."""


class CopiedFolderObjects(CopiedStorage):
    """Objects in a folder, as if it were elsewhere, and a cache of copies that is too small for most of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(FolderObjects(folder), folder.with_name(f"{folder.name}-copies"), max_bytes=20_000)
        self._copies.open()


@asynccontextmanager
async def copied_bucket(
    bucket: S3Bucket, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[CopiedStorage]:
    """Open a bucket, and a cache of copies of what is in it."""
    for name, value in bucket.place.environment().items():
        monkeypatch.setenv(name, value)
    async with (
        opened(S3Storage.from_url(bucket.url())) as storage,
        opened(CopiedStorage(storage, folder, max_bytes=20_000)) as copied,
    ):
        yield copied
