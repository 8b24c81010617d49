"""The storage contract on files."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.filesystem import FilesystemStorage
from agenttrace_contracts.base import Make
from agenttrace_contracts.storage import StorageContract
from agenttrace_core.ports.storage import ObjectStorage


class TestFilesystemStorage(StorageContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make[ObjectStorage]:
        return lambda name: FilesystemStorage.from_url(f"file:{tmp_path / name}")
