"""The local log on a disk that is full or failing: nothing is acknowledged, and it heals by itself."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import anyio.to_thread
import pytest

from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, append_many, stored
from agenttrace_core.errors import UnavailableError
from agenttrace_core.ports.queue import Position, SpanQueue

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("call", ["fdatasync", "pwritev", "posix_fallocate", "fsync"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
async def test_a_failing_call_is_told_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """After a failed fsync the kernel forgets what it could not write: only a new file can be trusted."""
    async with opened(_log(tmp_path)) as queue:
        acknowledged = await append_many(queue, [b"before %d" % i for i in range(10)])
        with monkeypatch.context() as patch:
            patch.setattr(os, call, _failing(number))
            acknowledged |= await _append_what_can_be(queue, 30)
        acknowledged |= await append_many(queue, [b"after %d" % i for i in range(10)])
        assert await stored(queue) == acknowledged
    async with opened(_log(tmp_path)) as queue:
        assert await stored(queue) == acknowledged


async def test_an_acknowledgement_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the sync ends nothing is told and nothing is shown; who hangs up meanwhile harms nobody."""
    real, syncing, go_on = os.fdatasync, Event(), Event()

    def slow(fd: int) -> None:
        syncing.set()
        assert go_on.wait(10)
        real(fd)

    acknowledged: list[Position] = []

    async def append(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            acknowledged.append(await queue.append(HEADERS, b"%d" % number))

    async with opened(_log(tmp_path)) as queue:
        before = await append_many(queue, [b"before"])
        monkeypatch.setattr(os, "fdatasync", slow)
        scopes = [anyio.CancelScope() for _ in range(8)]
        async with anyio.create_task_group() as group:
            for number, scope in enumerate(scopes):
                group.start_soon(append, number, scope)
            assert await anyio.to_thread.run_sync(syncing.wait, 10)
            await anyio.sleep(0.05)
            assert await stored(queue) == before
            assert not acknowledged
            scopes[0].cancel()
            await anyio.sleep(0.01)
            go_on.set()
        assert len(acknowledged) == 7
        assert set(acknowledged) <= set(await stored(queue))


async def test_after_a_failed_sync_a_new_file_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages whose sync failed count as clean: writing them again into the same file would prove nothing."""
    async with opened(_log(tmp_path)) as queue:
        await queue.append(HEADERS, b"before")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", _failing(errno.EIO))
            with pytest.raises(UnavailableError, match=os.strerror(errno.EIO)):
                await queue.append(HEADERS, b"refused")
        after = await queue.append(HEADERS, b"after")
        assert (tmp_path / "0" / f"{after.offset:020d}.log").exists()
        assert (tmp_path / "0" / f"{0:020d}.log").stat().st_size == after.offset


async def test_a_write_cut_short_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk fills up in the middle of a group: half a record must not stand before the next one."""
    real = os.pwritev

    def cut_short(fd: int, buffers: list[memoryview], position: int) -> int:
        monkeypatch.setattr(os, "pwritev", _failing(errno.ENOSPC))
        return real(fd, [memoryview(b"".join(buffers))[:30]], position)

    async with opened(_log(tmp_path)) as queue:
        before = await append_many(queue, [b"before"])
        monkeypatch.setattr(os, "pwritev", cut_short)
        with pytest.raises(UnavailableError):
            await queue.append(HEADERS, bytes(500))
        assert await stored(queue) == before
        monkeypatch.setattr(os, "pwritev", real)
        acknowledged = before | await append_many(queue, [b"after"])
        assert await stored(queue) == acknowledged


async def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may write less than it was given; the rest must follow, in its place."""
    real = os.pwritev

    def some(fd: int, buffers: list[memoryview], position: int) -> int:
        return real(fd, [memoryview(b"".join(buffers))[:7]], position)

    monkeypatch.setattr(os, "pwritev", some)
    async with opened(_log(tmp_path)) as queue:
        acknowledged = await append_many(queue, [b"body %d" % i for i in range(20)])
        assert await stored(queue) == acknowledged


async def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """A real limit of the kernel's, which cuts writes where they meet it, as a full disk does."""
    async with opened(_log(tmp_path, segment_bytes=1 << 20)) as queue:
        with _file_size_limit(100_000):
            acknowledged: dict[Any, bytes] = {}
            for i in range(30):
                acknowledged |= await _append_what_can_be(queue, 1, b"%d" % i * 9000)
            assert await stored(queue) == acknowledged
        acknowledged |= await append_many(queue, [bytes(200_000)])
        assert await stored(queue) == acknowledged


def _log(path: Path, *, segment_bytes: int = 4096) -> LocalLogQueue:
    return LocalLogQueue.from_url(f"log:{path}?segment_bytes={segment_bytes}")


def _failing(number: int) -> Callable[..., Any]:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


async def _append_what_can_be(queue: SpanQueue, count: int, body: bytes = b"x" * 300) -> dict[Any, bytes]:
    """Append one after the other, and return what was acknowledged; nothing but UnavailableError may be raised."""
    acknowledged: dict[Any, bytes] = {}
    for _ in range(count):
        with suppress(UnavailableError):
            acknowledged[await queue.append(HEADERS, body)] = body
        assert acknowledged.items() <= (await stored(queue)).items()
    return acknowledged


@contextmanager
def _file_size_limit(limit: int) -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
