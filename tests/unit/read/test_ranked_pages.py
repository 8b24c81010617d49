"""Pages of groups: all of them, each once, as of when the first page was asked for."""

from __future__ import annotations

import pyarrow as pa
import pytest

from agenttrace_adapters.memory import MemoryQueue
from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Column, Interval, Measure, Ranking, Selection
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveState
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.ranking import page_of
from agenttrace_core.services.ranked_pages import RankedPages
from agenttrace_core.services.view import Views, ViewSource

pytestmark = pytest.mark.anyio

_GROUPS = [("b", None, 5), ("a", "x", 5), ("", "y", 5), (None, "=", 3), ("a", None, 2), ("c", "", 1), ("c", "z", 1)]
_TABLE = pa.table(
    {
        "dim0": pa.array([group[0] for group in _GROUPS], pa.string()),
        "dim1": pa.array([group[1] for group in _GROUPS], pa.string()),
        "spans": pa.array([group[2] for group in _GROUPS], pa.int64()),
    }
)


class _Nothing(ViewSource):
    async def view(self) -> View:
        return View(Snapshot(version=0), LiveState())


class _Groups:
    """Answers rankings of the groups above, and remembers until when they were asked of."""

    def __init__(self) -> None:
        self.ends: list[int | None] = []

    async def answer(self, _: View, ranking: Ranking) -> pa.Table:
        self.ends.append(ranking.selection.during.end_ns)
        return page_of(_TABLE, ranking)


async def _pages() -> RankedPages:
    queue = MemoryQueue()
    await queue.open()
    return RankedPages(Views(_Nothing(), queue), Cursors(b"k" * 32))


def _ranking(*, limit: int, descending: bool = True, during: Interval | None = None) -> Ranking:
    dims, selection = (Column("error_type"), Column("name")), Selection(during=during or Interval())
    return Ranking(selection, dims, (Measure.SPANS,), Measure.SPANS, descending, named=False, limit=limit)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_every_group_comes_once_in_order(limit: int, *, descending: bool) -> None:
    """Lost: groups that have no name, or share their place with others, at the turn of a page."""
    pages, groups, found, cursor = await _pages(), _Groups(), list[tuple[object, ...]](), None
    while True:
        page = await pages.page("p", "errors", _ranking(limit=limit, descending=descending), groups.answer, cursor)
        found += [tuple(row.values()) for row in page.rows.to_pylist()]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(map(str, found)) == sorted(map(str, _GROUPS))
    counts = [group[2] for group in found]
    assert counts == sorted(counts, key=int, reverse=descending)
    assert len(set(groups.ends[1:])) <= 1, "later pages are of the moment of the first"
    assert groups.ends[0] is None


async def test_a_cursor_is_good_for_its_own_question() -> None:
    """Lost: another project's names, or a page that fits no first page."""
    pages, groups = await _pages(), _Groups()
    cursor = (await pages.page("p", "errors", _ranking(limit=2), groups.answer, None)).next_cursor
    assert cursor is not None
    for project, name, ranking in (
        ("q", "errors", _ranking(limit=2)),
        ("p", "models", _ranking(limit=2)),
        ("p", "errors", _ranking(limit=2, descending=False)),
        ("p", "errors", _ranking(limit=2, during=Interval(1, None))),
    ):
        with pytest.raises(InvalidInputError, match="cursor"):
            await pages.page(project, name, ranking, groups.answer, cursor)
