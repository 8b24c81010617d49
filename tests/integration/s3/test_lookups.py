"""What a look-up of a trace asks of an S3 server, counted by a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import anyio
import pytest
import xxhash

from agenttrace_adapters.duckdb import DuckDBIndex
from agenttrace_adapters.filesystem import CopiedStorage
from agenttrace_adapters.redis import RedisCache
from agenttrace_adapters.s3 import S3Storage
from agenttrace_contracts.base import opened
from agenttrace_contracts.index_world import light_row, rows_of
from agenttrace_core.model.algebra import Selection
from agenttrace_core.model.segment import FileKind, SegmentFile, Snapshot, StoredObject
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveState
from agenttrace_core.schema.files import SpansFile, encode_spans_file
from agenttrace_core.services.otlp_pieces import located
from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3 import S3Bucket

pytestmark = pytest.mark.anyio

_TRACES = 1_300
_SPANS = 10


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def storage(
    minio_bucket: S3Bucket, faulty_minio: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CopiedStorage]:
    for name, value in faulty_minio.place.environment().items():
        monkeypatch.setenv(name, value)
    async with (
        opened(S3Storage.from_url(minio_bucket.url())) as bucket,
        opened(CopiedStorage(bucket, tmp_path / "copies", max_bytes=1 << 30)) as copied,
    ):
        yield copied


@pytest.fixture(scope="module")
def encoded() -> SpansFile:
    """A file of several row groups."""
    light = [
        light_row(trace_id=_trace(t), span_id=f"{t * _SPANS + n:016x}", partition=0, offset=t, position=n)
        for t in range(_TRACES)
        for n in range(_SPANS)
    ]
    return encode_spans_file(rows_of(light))


@pytest.fixture
async def view(storage: CopiedStorage, encoded: SpansFile, faulty_minio: FaultProxy) -> View:
    """The file on the server, where nobody has looked at it."""
    objects = {
        name: StoredObject(f"file/{name}", body.size, xxhash.xxh3_128_hexdigest(body))
        for name, body in encoded.objects.items()
    }
    for name, body in encoded.objects.items():
        await storage.put(f"file/{name}", [memoryview(body)])
    faulty_minio.forget()
    file = SegmentFile(UUID(int=1), FileKind.SPANS, 0, "", objects, encoded.segments)
    return View(Snapshot(1, {}, (file,)), LiveState())


def _trace(number: int) -> str:
    return f"{number:032x}"


def _gets(proxy: FaultProxy) -> list[str]:
    """Return of which objects something was got."""
    return sorted(asked.path.rpartition("/")[2] for asked in proxy.asked if asked.method in ("GET", "HEAD"))


async def _look_up(index: DuckDBIndex, view: View, trace_id: str) -> None:
    rows = await index.versions(view, "default", [trace_id])
    assert rows["trace_id"].to_pylist() == [trace_id] * _SPANS
    assert len(await index.payload(view, located(rows))) == _SPANS


async def test_a_trace_of_a_known_file_takes_two_requests(
    storage: CopiedStorage, view: View, faulty_minio: FaultProxy
) -> None:
    """Each request is a round trip of tens of milliseconds; an engine that reads a file by itself makes a hundred."""
    index = DuckDBIndex(whole_bytes=1)
    index.attach(storage)
    async with opened(index):
        await _look_up(index, view, _trace(7))
        assert _gets(faulty_minio) == ["light", "light", "payload", "payload", "traces"]  # a footer, and a row group
        faulty_minio.forget()
        await _look_up(index, view, _trace(_TRACES - 7))
        assert _gets(faulty_minio) == ["light", "payload"]
        assert not any(asked.range.startswith("bytes=0-") for asked in faulty_minio.asked)
        faulty_minio.forget()
        await _look_up(index, view, _trace(_TRACES - 7))
        assert _gets(faulty_minio) == []


async def test_short_files_are_got_whole(storage: CopiedStorage, view: View, faulty_minio: FaultProxy) -> None:
    """What a writer has just flushed is small: one request fetches all that is ever asked of it."""
    index = DuckDBIndex()
    index.attach(storage)
    async with opened(index):
        await _look_up(index, view, _trace(7))
        assert _gets(faulty_minio) == ["light", "payload", "traces"]
        faulty_minio.forget()
        await _look_up(index, view, _trace(_TRACES - 7))
        assert _gets(faulty_minio) == []


async def test_what_is_read_often_comes_here(storage: CopiedStorage, view: View, faulty_minio: FaultProxy) -> None:
    """A file in which everybody looks is not worth a request each time."""
    index = DuckDBIndex(whole_bytes=1)
    index.attach(storage)
    async with opened(index):
        # Each in another row group of payloads than the last.
        for number in range(10, _TRACES, _TRACES // 12):
            await _look_up(index, view, _trace(number))
        with anyio.fail_after(10):
            while (await storage.copied(view.snapshot.files[0].objects["payload"])) is None:
                await anyio.sleep(0.01)
        faulty_minio.forget()
        await _look_up(index, view, _trace(_TRACES - 150))
        assert "payload" not in _gets(faulty_minio)


async def test_another_index_finds_the_copies(storage: CopiedStorage, view: View, faulty_minio: FaultProxy) -> None:
    """Each process of a machine would fetch gigabytes after each restart."""
    for first in (True, False):
        index = DuckDBIndex(whole_bytes=1)
        index.attach(storage)
        async with opened(index):
            assert len(await index.spans(view, "default", Selection(), limit=5)) == 5
            assert bool(_gets(faulty_minio)) is first
        faulty_minio.forget()


async def test_processes_share_what_is_known_of_files(
    storage: CopiedStorage, view: View, faulty_minio: FaultProxy, redis_url: str
) -> None:
    """A process that has just started would ask for the end of each file once more, as all others did before."""
    for first in (True, False):
        index = DuckDBIndex(whole_bytes=1)
        index.attach(storage)
        async with opened(RedisCache.from_url(f"{redis_url}?timeout_ms=10000")) as cache:
            index.use_cache(cache)
            async with opened(index):
                await _look_up(index, view, _trace(7))
        footers = ["light", "payload"] if first else []
        assert _gets(faulty_minio) == sorted(["light", "payload", *footers, *(["traces"] if first else [])])
        faulty_minio.forget()


async def test_a_damaged_value_of_the_cache_is_not_believed(storage: CopiedStorage, view: View, redis_url: str) -> None:
    """A cache is on no way that is checked: what comes of it must be, before files are read by it."""
    async with opened(RedisCache.from_url(f"{redis_url}?timeout_ms=10000")) as cache:
        for item in view.snapshot.files[0].objects.values():
            for damaged in (b"", b"short", b"12345678PAR1"):
                await cache.put(f"footer:{item.key}:{item.checksum}", damaged, ttl_s=60)
        index = DuckDBIndex(whole_bytes=1)
        index.attach(storage)
        index.use_cache(cache)
        async with opened(index):
            await _look_up(index, view, _trace(7))
