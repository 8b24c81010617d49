"""What merges write down of texts, as the services come to write it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from agenttrace_core.schema.grams import LEAST_ROWS, Grams
from agenttrace_core.services.compact import CompactConfig
from agenttrace_core.services.sources import open_source
from tests.faults.deployment import append, backends, compact_all, write_all
from tests.faults.spans import SpanSpec, now_ns, request

pytestmark = pytest.mark.anyio


async def test_merges_tell_where_a_text_may_be_and_flushes_do_not(tmp_path: Path) -> None:
    """Lost otherwise: nothing but the speed of searches for a text, which no other test would miss."""
    start, half = now_ns(), LEAST_ROWS // 2
    for trace in (b"\1" * 16, b"\2" * 16):
        spans = [SpanSpec(trace, n.to_bytes(8, "big"), start, start + 1, name="kangaroo") for n in range(1, half + 1)]
        await append(tmp_path, request(*spans))
        await write_all(tmp_path)
    async with backends(tmp_path) as b:
        assert all("grams" not in file.objects for file in (await b.catalog.snapshot()).files)
    await compact_all(tmp_path, CompactConfig(fan_in=2, grace_s=0.0))
    async with backends(tmp_path) as b:
        (file,) = (await b.catalog.snapshot()).files
        grams = Grams(pa.ipc.open_file(await open_source(b.storage, file.objects["grams"])).read_all())
    assert grams.ranges("KANGAROO") == [(0, LEAST_ROWS - 1)]
    assert grams.ranges("wallaby") == []
