"""Which files are merged next."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from agenttrace_core.model.segment import WINDOW_NS, FileKind, Segment, SegmentFile, Snapshot, StoredObject
from agenttrace_core.services.compact import CompactConfig, plan

_NOW_NS = time.time_ns() // WINDOW_NS * WINDOW_NS
_CONFIG = CompactConfig(fan_in=8, max_file_bytes=256)


_OVER_NS = _NOW_NS - 3 * WINDOW_NS


def _file(size: int, window: int, *, rows: int = 1, level: int = 0, kind: FileKind = FileKind.SPANS) -> SegmentFile:
    segment = Segment("shop", window, 0, rows, 0, 1, window, window, size)
    return SegmentFile(uuid4(), kind, level, "1", {"light": StoredObject("key", size, "")}, (segment,))


def _chosen(*files: SegmentFile) -> list[SegmentFile]:
    return list(plan(Snapshot(1, files=files), _CONFIG, _NOW_NS))


def _planned(sizes: list[int], *, window: int) -> list[int]:
    return [file.size for file in _chosen(*(_file(size, window) for size in sizes))]


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
    assert _planned([100, 100, 100], window=_OVER_NS) == [100, 100]


def test_a_window_of_one_flush_has_roll_ups_once_it_is_over() -> None:
    """Lost: the speed of all figures over days that were imported, or came in one flush an hour."""
    flushed = _file(100, _OVER_NS, rows=60_000)
    assert _chosen(flushed) == [flushed]
    assert _chosen(_file(100, _OVER_NS, rows=60_000, level=1)) == []


def test_what_a_merge_would_not_make_quicker_is_left_as_it_is() -> None:
    """Lost: the work of writing files again, for nothing."""
    assert _chosen(_file(100, _OVER_NS, rows=100)) == []
    assert _chosen(_file(100, _OVER_NS, rows=60_000, kind=FileKind.LOGS)) == []
    assert _chosen(_file(100, _NOW_NS, rows=60_000)) == []
