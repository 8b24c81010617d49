"""Which files are merged next."""

from __future__ import annotations

from uuid import uuid4

from agenttrace_core.model.segment import WINDOW_NS, FileKind, Segment, SegmentFile, Snapshot
from agenttrace_core.services.compact import CompactConfig, plan

_NOW_NS = 1_000 * WINDOW_NS


def _file(rows: int, *, level: int = 0, kind: FileKind = FileKind.SPANS, window: int = 0) -> SegmentFile:
    segment = Segment("default", window, 0, rows, 0, 1, window, window + 1, 100 * rows)
    return SegmentFile(uuid4(), kind, level, "", {}, (segment,))


def _chosen(*files: SegmentFile) -> list[SegmentFile]:
    return list(plan(Snapshot(version=1, files=files, superseded=(), watermarks={}), CompactConfig(), _NOW_NS))


def test_a_window_of_one_flush_has_roll_ups_once_it_is_over() -> None:
    """Lost otherwise: the speed of all figures over days that were imported, or came in one flush an hour."""
    flushed = _file(60_000)
    assert _chosen(flushed) == [flushed]
    assert _chosen(_file(60_000, level=1)) == []


def test_what_a_merge_would_not_make_quicker_is_left_as_it_is() -> None:
    """Lost otherwise: the work of writing files again, for nothing."""
    assert _chosen(_file(100)) == []
    assert _chosen(_file(60_000, kind=FileKind.LOGS)) == []
    assert _chosen(_file(60_000, window=_NOW_NS - WINDOW_NS)) == []
