from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_contracts.base import Make
from agenttrace_contracts.index import IndexContract
from agenttrace_contracts.index_world import FolderObjects, LocalFolderObjects, World
from agenttrace_core.ports.index import SpanIndex
from tests.contract.elsewhere import BY_RANGES, CopiedFolderObjects, copied_bucket
from tests.servers.s3 import S3Bucket


class TestDuckDBIndex(IndexContract):
    @pytest.fixture
    def make(self) -> Make[SpanIndex]:
        return lambda name: DuckDBIndex.from_url(BY_RANGES)

    @pytest.fixture(params=[FolderObjects, LocalFolderObjects, CopiedFolderObjects], ids=["remote", "local", "copied"])
    def objects(self, request: pytest.FixtureRequest) -> Callable[[Path], Any]:
        kind: Callable[[Path], Any] = request.param
        return kind


class TestDuckDBIndexOverS3(IndexContract):
    """All but its state machine goes to the server, and that to a folder that is taken for one."""

    @pytest.fixture
    def make(self) -> Make[SpanIndex]:
        return lambda name: DuckDBIndex.from_url(BY_RANGES)

    @pytest.fixture
    def objects(self) -> Callable[[Path], Any]:
        return CopiedFolderObjects

    @pytest.fixture
    async def world(
        self, minio_bucket: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[World]:
        async with copied_bucket(minio_bucket, tmp_path / "copies", monkeypatch) as storage:
            yield World(storage)
