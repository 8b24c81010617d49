"""One file that cannot be read: spans are still written, and everything else is still answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from agenttrace_adapters.filesystem import FilesystemStorage
from agenttrace_adapters.sqlite import SqliteCatalog
from agenttrace_core.errors import CorruptionError, GoneError
from agenttrace_core.services.sound_files import SoundFiles
from agenttrace_server.doctor_files import files_finding
from agenttrace_server.settings import Settings
from tests.integration.api import AT_ONCE, open_api, otlp, span

pytestmark = pytest.mark.anyio

START_NS = 1_790_000_000_000_000_000


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[40 : len(body) * 3 // 4 : 53] = bytes(b ^ 0xFF for b in body[40 : len(body) * 3 // 4 : 53])
    path.write_bytes(body)


def _request(number: int, trace: int) -> dict[str, Any]:
    at = START_NS + number
    text = [{"key": "gen_ai.prompt.0.content", "value": {"stringValue": f"hello {trace} " * 100}}]
    times = {"startTimeUnixNano": str(at), "endTimeUnixNano": str(at + 1_000)}
    return otlp([span(number, trace, name=f"span {number}", attributes=text, **times)])


async def _prepare(folder: Path, role: str, damage: Callable[[Path], None]) -> None:
    """Write two files, of a trace each, and damage the first."""
    async with open_api(folder, AT_ONCE) as api:
        await api.store(_request(1, 1), state="in_files")
        (first,) = (folder / "objects").rglob(f"*.{role}.*")
        await api.store(_request(1, 2), state="in_files")
    first.chmod(0o600)
    damage(first)


@pytest.mark.parametrize(("role", "damage"), [("light", _cut), ("traces", _flip), ("light", Path.unlink)])
async def test_what_is_damaged_is_left_out_and_named(tmp_path: Path, role: str, damage: Callable[[Path], None]) -> None:
    """Lost otherwise, for one bad sector: all that is sent from then on, and every answer."""
    await _prepare(tmp_path, role, damage)
    async with open_api(tmp_path, AT_ONCE) as api:
        for trace in (1, 2, 3):  # goes on with the damaged trace, the sound one, and a new one
            await api.store(_request(2, trace), state="in_files")
        usage = (await api.get("/api/v1/analytics/usage")).json()
        assert (usage["rows"][0]["spans"], usage["partial"], len(usage["damaged"])) == (4, True, 1)
        traces = (await api.get("/api/v1/traces")).json()
        assert sorted(trace["spans"] for trace in traces["items"]) == [1, 1, 2]
        table = await api.get("/api/v1/spans", format="ndjson")
        assert (len(table.text.splitlines()), table.headers["agenttrace-damaged"]) == (4, usage["damaged"][0])
        for query in ("hello", 'payload:"hello 2"'):
            found = await api.get("/api/v1/traces", q=query)
            assert (found.status_code, found.json()["damaged"]) == (200, usage["damaged"])
        trace_id = traces["items"][0]["trace_id"]
        gone = await api.get(f"/api/v1/traces/{trace_id}/spans/{'f' * 16}")
        assert (gone.status_code, usage["damaged"][0] in gone.text) == (404, True)


async def test_damaged_payloads_cost_what_they_hold_alone(tmp_path: Path) -> None:
    """Lost otherwise: figures of half a million spans, because the text of one of them cannot be read."""
    await _prepare(tmp_path, "payload", Path.unlink)
    finding = await to_thread.run_sync(files_finding, Settings(data=tmp_path))
    assert finding is not None
    assert "payload.parquet is gone" in finding.found
    async with open_api(tmp_path, AT_ONCE) as api:
        first, second = ((await api.get("/api/v1/spans", order="start")).json()["items"])[:2]
        for _ in range(2):
            read = [await api.get(f"/api/v1/traces/{s['trace_id']}/spans/{s['span_id']}") for s in (first, second)]
            assert sorted(answer.status_code for answer in read) == [200, 404]
            assert "damaged" in next(answer.text for answer in read if answer.status_code == 404)
            usage = (await api.get("/api/v1/analytics/usage")).json()
            assert (usage["rows"][0]["spans"], "damaged" in usage) == (2, False)


class _Counted(FilesystemStorage):
    reads = 0

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        self.reads += 1
        return await super().get_ranges(key, ranges)


async def test_files_that_were_merged_meanwhile_are_no_reason_to_read_all_others(tmp_path: Path) -> None:
    """Lost otherwise: a question that meets a merge reads every byte there is."""
    async with open_api(tmp_path, AT_ONCE) as api:
        for trace in (1, 2):
            await api.store(_request(1, trace), state="in_files")
    storage = _Counted(tmp_path / "objects")
    catalog = SqliteCatalog.from_url(f"sqlite:{tmp_path}/catalog.sqlite")
    async with aclosing(storage), aclosing(catalog):
        await storage.open()
        await catalog.open()
        sound = SoundFiles(catalog, storage)
        assert not await sound.examine(GoneError("0198.light.parquet is gone"))
        assert storage.reads == 0
        assert not await sound.examine(CorruptionError("a file cannot be read"))
        assert storage.reads >= sum(len(file.objects) for file in (await catalog.snapshot()).files)
