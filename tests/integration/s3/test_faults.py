"""The S3 storage behind a server that fails: what was acknowledged is there, what was not can be told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace

import anyio
import pytest

from agenttrace_adapters.s3 import S3Storage
from agenttrace_core.errors import AlreadyExistsError, UnavailableError
from tests.servers.fault_proxy import FaultProxy
from tests.servers.s3 import S3Bucket

pytestmark = pytest.mark.anyio

_PART = 5 << 20
_LONG = b"0123456789abcdef" * (12 << 16)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def bucket(minio_bucket: S3Bucket, faulty_minio: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    for name, value in faulty_minio.place.environment().items():
        monkeypatch.setenv(name, value)
    return replace(minio_bucket, place=faulty_minio.place)


@pytest.fixture
async def storage(bucket: S3Bucket) -> AsyncIterator[S3Storage]:
    storage = S3Storage.from_url(f"{bucket.url()}?part_bytes={_PART}&timeout=2&retry_for=10")
    await storage.open()
    yield storage
    await storage.aclose()


async def _keys(storage: S3Storage) -> list[str]:
    return [info.key async for info in storage.list()]


def _uploads(bucket: S3Bucket) -> list[object]:
    with closing(bucket.place.client()) as client:
        return list(client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []))


@pytest.mark.parametrize("body", [b"short", _LONG], ids=["whole", "parts"])
async def test_a_third_of_requests_fails(storage: S3Storage, faulty_minio: FaultProxy, body: bytes) -> None:
    """A server that is too busy for some requests must cost time, not spans."""
    faulty_minio.fail(1 / 3)
    async with anyio.create_task_group() as tasks:
        for n in range(10):
            tasks.start_soon(storage.put, f"a/{n}", [body])
    assert [await storage.get(f"a/{n}") for n in range(10)] == [body] * 10
    assert await storage.get_ranges("a/1", [(0, 2), (len(body) - 2, 2)]) == [body[:2], body[-2:]]
    assert await _keys(storage) == [f"a/{n}" for n in range(10)]
    for n in range(10):
        await storage.delete(f"a/{n}")
    assert await _keys(storage) == []
    assert sum(asked.status == 503 for asked in faulty_minio.asked) > 10


async def test_an_answer_that_is_lost_after_a_put(storage: S3Storage, faulty_minio: FaultProxy) -> None:
    """The second try finds what the first has stored: taken for somebody else's, a flush would never end."""
    faulty_minio.lose_answers(1, ["PUT"])
    await storage.put("a", [b"bytes"])
    assert await storage.get("a") == b"bytes"
    assert [asked.status for asked in faulty_minio.asked if asked.method == "PUT"] == [0, 412]


async def test_an_answer_that_is_lost_after_another_put(storage: S3Storage, faulty_minio: FaultProxy) -> None:
    """What the first try did must not be taken for what somebody else did, nor the other way round."""
    await storage.put("a", [b"bytes"])
    faulty_minio.lose_answers(1, ["PUT"])
    with pytest.raises(AlreadyExistsError):
        await storage.put("a", [b"other"])
    assert await storage.get("a") == b"bytes"


async def test_answers_that_are_lost_while_parts_are_put(
    storage: S3Storage, bucket: S3Bucket, faulty_minio: FaultProxy
) -> None:
    """A part that is put twice is one part, and an upload that ends leaves nothing open."""
    faulty_minio.lose_answers(3, ["PUT"])
    await storage.put("a", [_LONG])
    assert await storage.get("a") == _LONG
    assert await anyio.to_thread.run_sync(_uploads, bucket) == []


async def test_an_answer_that_is_lost_when_an_upload_begins(storage: S3Storage, faulty_minio: FaultProxy) -> None:
    """Nobody knows the number of an upload whose beginning was not heard of: another is begun."""
    faulty_minio.lose_answers(1, ["POST"])
    await storage.put("a", [_LONG])
    assert await storage.get("a") == _LONG


async def test_the_end_of_an_upload_whose_answer_is_lost(storage: S3Storage, faulty_minio: FaultProxy) -> None:
    """The upload is not known any more, as it is complete. Taken for a failure, a merge would never end."""

    async def lose_the_last() -> None:
        while not faulty_minio.counts["POST"]:
            await anyio.sleep(0.001)
        faulty_minio.lose_answers(1, ["POST"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lose_the_last)
        await storage.put("a", [_LONG])
    assert await storage.get("a") == _LONG
    assert [asked.status for asked in faulty_minio.asked if asked.method == "POST"][:2] == [200, 0]


async def test_a_body_that_ends_half_way(storage: S3Storage, faulty_minio: FaultProxy) -> None:
    """Half of an object, taken for all of it, is wrong sums."""
    await storage.put("a", [_LONG])
    faulty_minio.cut_bodies(4)
    assert await storage.get("a") == _LONG
    faulty_minio.cut_bodies(1)
    assert await storage.get_ranges("a", [(5, 100)]) == [_LONG[5:105]]


async def test_slow_by_more_than_a_moment(storage: S3Storage, faulty_minio: FaultProxy) -> None:
    """A slow server is not one that is away: giving up on it doubles what it has to do."""
    faulty_minio.slow(1.2)
    await storage.put("a", [b"bytes"])
    assert await storage.get("a") == b"bytes"
    assert [a.path.rpartition("/")[2] for a in faulty_minio.asked if a.path.count("/") > 1] == ["a", "a"]


async def test_a_server_that_is_away_is_given_up(bucket: S3Bucket, faulty_minio: FaultProxy) -> None:
    """Whoever waits for ever holds memory, and answers nobody."""
    storage = S3Storage.from_url(f"{bucket.url()}?retry_for=2")
    await storage.open()
    await storage.put("a", [b"bytes"])
    faulty_minio.cut_off()
    for call in (storage.put("b", [b"bytes"]), storage.get("a"), storage.delete("a"), _keys(storage)):
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match=r"storage at http.*failed \d+ times"):
            await call
        assert time.monotonic() - begun < 4
    faulty_minio.heal()
    assert await storage.get("a") == b"bytes"
    assert await _keys(storage) == ["a"]
    await storage.aclose()


async def test_nothing_is_left_of_an_upload_that_fails(bucket: S3Bucket, faulty_minio: FaultProxy) -> None:
    """Parts of uploads that nobody ends are paid for, and seen by nobody."""
    storage = S3Storage.from_url(f"{bucket.url()}?part_bytes={_PART}&retry_for=0")
    await storage.open()

    async def fail_in_the_middle() -> None:
        while faulty_minio.counts["PUT"] < 1:
            await anyio.sleep(0.001)
        faulty_minio.fail(1.0, methods=["PUT"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail_in_the_middle)
        with pytest.raises(UnavailableError):
            await storage.put("a", [_LONG * 4])
    faulty_minio.heal()
    assert await _keys(storage) == []
    assert await anyio.to_thread.run_sync(_uploads, bucket) == []
    await storage.put("a", [_LONG])
    assert await storage.get("a") == _LONG
    await storage.aclose()


async def test_nothing_is_left_of_an_upload_that_is_cancelled(bucket: S3Bucket, storage: S3Storage) -> None:
    """A process that is told to stop in the middle of a merge leaves no parts behind."""
    with anyio.move_on_after(0.05):
        await storage.put("a", [_LONG * 8])
    assert await _keys(storage) == []
    assert await anyio.to_thread.run_sync(_uploads, bucket) == []


def test_it_runs_on_uvloop(bucket: S3Bucket) -> None:
    """Every process of a server runs on it."""
    import uvloop

    async def put_and_get() -> bytes:
        storage = S3Storage.from_url(bucket.url())
        await storage.open()
        try:
            await storage.put("a", [_LONG])
            return await storage.get("a")
        finally:
            await storage.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(put_and_get()) == _LONG
