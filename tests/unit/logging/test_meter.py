"""What goes on beside a part's own work: it does not end in silence, nor for want of room on a disk."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from agenttrace_server import composition_meter
from agenttrace_server.composition_meter import FileMeter, beside

pytestmark = pytest.mark.anyio


async def test_work_that_fails_beside_the_rest_is_told() -> None:
    """Lost: left bodies are never swept any more, or a topic forgets records, and nobody hears of it."""

    async def work() -> None:
        raise ValueError("the key is none")

    with capture_logs() as told:
        async with beside(work()):
            await anyio.sleep(0.01)
        async with beside(anyio.sleep_forever()):
            await anyio.sleep(0.01)
    assert [(entry["log_level"], str(entry["exc_info"])) for entry in told] == [("error", "the key is none")]


async def test_figures_are_told_again_once_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost: after a disk was full for a moment, its operator sees the figures of that moment for ever."""
    monkeypatch.setattr(composition_meter, "_EVERY_S", 0.01)
    folder, meter = tmp_path / "metrics", FileMeter("write")
    folder.write_text("in the way, as a full disk is")
    async with beside(meter.keep_in(folder / "write.prom")):
        await anyio.sleep(0.05)
        folder.unlink()
        meter.gauge("partitions", 4)
        with anyio.fail_after(10):
            while b"partitions 4.0" not in composition_meter.figures(tmp_path):
                await anyio.sleep(0.01)
