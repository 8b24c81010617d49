"""Which files are merged next."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from agenttrace_core.model.segment import WINDOW_NS, FileKind, Segment, SegmentFile, Snapshot, StoredObject
from agenttrace_core.services.compact import CompactConfig, plan

_NOW_NS = time.time_ns() // WINDOW_NS * WINDOW_NS
_CONFIG = CompactConfig(fan_in=8, max_file_bytes=256)


def _file(size: int, window: int) -> SegmentFile:
    segment = Segment("shop", window, 0, 1, 0, 1, window, window, size)
    return SegmentFile(uuid4(), FileKind.SPANS, 0, "1", {"light": StoredObject("key", size, "")}, (segment,))


def _planned(sizes: list[int], *, window: int) -> list[int]:
    snapshot = Snapshot(1, files=tuple(_file(size, window) for size in sizes))
    return [file.size for file in plan(snapshot, _CONFIG, _NOW_NS)]


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        pytest.param([30] * 7, 0, id="too few"),
        pytest.param([30] * 9, 8, id="enough"),
        pytest.param([35] * 8, 7, id="fewer fit"),
        pytest.param([35] * 7, 0, id="all that there are"),
        pytest.param([50] * 9, 5, id="more than half as many fit"),
        pytest.param([80] * 9, 0, id="large ones, which are few"),
    ],
)
def test_files_are_merged_when_there_are_enough_or_no_more_would_fit(sizes: list[int], merged: int) -> None:
    """Lost: where eight files are a little larger than one may become, none is merged until the hour is over.

    At twenty thousand spans a second those are more than a thousand, in each of which every trace is sought.
    """
    assert len(_planned(sizes, window=_NOW_NS)) == merged


def test_when_the_window_is_over_any_two_are_merged() -> None:
    """Lost: the last files of each hour stay apart for good."""
    assert _planned([100, 100, 100], window=_NOW_NS - 3 * WINDOW_NS) == [100, 100]
