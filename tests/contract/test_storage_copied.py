"""The storage contract on files with copies of them: what wraps a storage must not change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.filesystem import CopiedStorage, FilesystemStorage
from agenttrace_contracts.base import Make
from agenttrace_contracts.storage import StorageContract
from agenttrace_core.ports.storage import ObjectStorage


class _CopiedFiles(CopiedStorage):
    """Opens what it wraps, too."""

    def __init__(self, folder: Path) -> None:
        self._files = FilesystemStorage(folder / "objects")
        super().__init__(self._files, folder / "copies", max_bytes=1 << 20)

    async def open(self) -> None:
        await self._files.open()
        await super().open()


class TestCopiedStorage(StorageContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make[ObjectStorage]:
        return lambda name: _CopiedFiles(tmp_path / name)
