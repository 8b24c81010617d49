"""Who may append to which partition of the local log, and how it is configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttrace_adapters.locallog import LocalLogQueue
from agenttrace_contracts.base import opened
from agenttrace_contracts.queue import HEADERS, stored
from agenttrace_core.errors import ConfigurationError, InvalidInputError, UnavailableError
from agenttrace_core.ports.queue import Headers, Signal

pytestmark = pytest.mark.anyio


def _log(path: Path) -> LocalLogQueue:
    return LocalLogQueue.from_url(f"log:{path}?segment_bytes=4096")


async def test_a_reader_claims_nothing(tmp_path: Path) -> None:
    """A writer process that claimed a partition would drive the doors to make more and more of them."""
    async with opened(_log(tmp_path)) as reader:
        assert await reader.end_offsets() == {}
        assert list(await reader.read(0, 0, max_bytes=1)) == []
        async with opened(_log(tmp_path)) as door:
            assert (await door.append(HEADERS, b"body")).partition == 0
        assert set(await reader.end_offsets()) == {0}


async def test_appenders_take_the_first_free_partition(tmp_path: Path) -> None:
    """Two appenders of one partition would overwrite each other; a free one left aside would grow stale."""
    async with opened(_log(tmp_path)) as one:
        assert (await one.append(HEADERS, b"one")).partition == 0
        async with opened(_log(tmp_path)) as two:
            assert (await two.append(HEADERS, b"two")).partition == 1
            await one.aclose()
            async with opened(_log(tmp_path)) as three:
                assert (await three.append(HEADERS, b"three")).partition == 0
                assert sorted((await stored(three)).values()) == [b"one", b"three", b"two"]


async def test_closing_gives_back_what_was_allocated_ahead(tmp_path: Path) -> None:
    """A data folder at rest is copied and backed up; 64 MiB of nothing a partition should not be."""
    async with opened(LocalLogQueue.from_url(f"log:{tmp_path}")) as queue:
        position = await queue.append(HEADERS, b"body")
        [segment] = (tmp_path / "0").glob("*.log")
        assert segment.stat().st_size == 1 << 26
    assert segment.stat().st_size == position.next_offset


async def test_a_queue_that_is_not_open_says_so(tmp_path: Path) -> None:
    """An append that waits for ever on a closed log holds up a shutdown."""
    queue = _log(tmp_path)
    with pytest.raises(UnavailableError, match="not open"):
        await queue.append(HEADERS, b"early")
    async with opened(queue):
        await queue.append(HEADERS, b"body")
    for call in (queue.append(HEADERS, b"late"), queue.read(0, 0, max_bytes=1), queue.end_offsets()):
        with pytest.raises(UnavailableError, match="not open"):
            await call


async def test_headers_that_cannot_be_stored_spoil_no_neighbour(tmp_path: Path) -> None:
    """Appends share a group; one sender's bad header must not fail the others' acknowledgements."""
    async with opened(_log(tmp_path)) as queue:
        for headers in (Headers("p" * 65_536, Signal.TRACES, 0), Headers("p", Signal.TRACES, 1 << 63)):
            with pytest.raises(InvalidInputError):
                await queue.append(headers, b"body")
        surrogate = Headers("\ud800", Signal.TRACES, -1)
        position = await queue.append(surrogate, b"body")
        [record] = await queue.read(0, position.offset, max_bytes=1)
        assert record.headers == surrogate


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("log:", "log:PATH"),
        ("log://host/path", "log:PATH"),
        ("memory:", "log:PATH"),
        ("log:/x?segments=1", "known are segment_bytes"),
        ("log:/x?segment_bytes=64MB", "number of bytes"),
        ("log:/x?segment_bytes=0", "number of bytes"),
    ],
)
def test_a_wrong_url_is_refused_with_what_would_be_right(url: str, right: str) -> None:
    """A mistyped option that is ignored is found out on the day that it matters."""
    with pytest.raises(ConfigurationError, match=right):
        LocalLogQueue.from_url(url)


@pytest.mark.parametrize("url", ["log:{}", "log://{}"])
async def test_both_ways_to_write_an_absolute_path(tmp_path: Path, url: str) -> None:
    """Users of other URL schemes write two slashes out of habit."""
    async with opened(LocalLogQueue.from_url(url.format(tmp_path))) as queue:
        await queue.append(HEADERS, b"body")
    assert (tmp_path / "format.json").exists()
