"""The live table's contract on memory-mapped files."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.filesystem import FilesystemLiveTable
from agenttrace_contracts.base import Make
from agenttrace_contracts.live import LiveTableContract
from agenttrace_core.ports.live import LiveState, LiveTable


class TestFilesystemLiveTable(LiveTableContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make[LiveTable]:
        return lambda name: FilesystemLiveTable.from_url(f"file:{tmp_path / name}")

    async def test_instances_are_readers_of_one_table(self, make: Make[LiveTable]) -> None:
        """The suite reads through the publisher where instances share nothing; these must share."""
        writer, reader = make("main"), make("main")
        await writer.open()
        await reader.open()
        await writer.publish(LiveState(epoch="e"))
        assert (await reader.current()).epoch == "e"
