"""Groups of spans in order of a measure, page by page: what lists of sessions, models and kinds of errors share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from agenttrace_core.model.algebra import Interval, Ranking
from agenttrace_core.ports.index import SpanQueries, View
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.ranking import aggregation_of, page_of, place_value
from agenttrace_core.services.view import Lag, Views


@dataclass(frozen=True, slots=True)
class RankedPage:
    """A page of groups: ``dim0``, … and the ranking's measures. ``next_cursor`` is None on the last."""

    rows: pa.Table
    next_cursor: str | None
    lag: Lag


class RankedPages:
    """Pages through groups. A cursor pins the time up to which spans are seen: later pages fit the first.

    Args:
        views: what is readable.
        cursors: sign the places.
    """

    def __init__(self, views: Views, cursors: Cursors) -> None:
        self._views = views
        self._cursors = cursors

    async def page(
        self,
        project: str,
        name: str,
        ranking: Ranking,
        answer: Callable[[View, Ranking], Awaitable[pa.Table]],
        cursor: str | None,
    ) -> RankedPage:
        """Return a page of at most ``ranking.limit`` groups.

        Args:
            project: whose spans.
            name: of the list, so that a cursor is good for that one alone.
            ranking: what is asked, from the beginning.
            answer: returns the groups of a ranking in a view.
            cursor: where to go on.

        Raises:
            InvalidInputError: ``cursor`` is not one of this list, or groups cannot be ranked so.
        """
        selection, limit = ranking.selection, ranking.limit
        # The moment by which states are judged is each page's own.
        question = repr((name, replace(selection, as_of=None), ranking.order, ranking.descending))
        place = None if cursor is None else self._cursors.open(cursor, project, question)
        end = selection.during.end_ns if place is None else int(place[0])
        asked = replace(
            ranking,
            selection=replace(selection, during=Interval(selection.during.start_ns, end)),
            limit=limit + 1,
            after=None if place is None else (place[1], *(_unmarked(str(text)) for text in place[2:])),
        )
        pinned = time.time_ns() if end is None else end
        seen = await self._views.look()
        rows = await answer(seen.view, asked)
        if len(rows) <= limit:
            return RankedPage(rows, None, seen.lag)
        (last,) = rows.slice(limit - 1, 1).to_pylist()
        dims = (_marked(last[f"dim{i}"]) for i in range(len(ranking.group_by)))
        next_cursor = self._cursors.sign(project, question, (pinned, place_value(last[ranking.order]), *dims))
        return RankedPage(rows.slice(0, limit), next_cursor, seen.lag)


async def ranked(index: SpanQueries, view: View, project: str, ranking: Ranking) -> pa.Table:
    """Return a page of groups.

    Raises:
        InvalidInputError: groups cannot be ranked by the measure, or there are too many of them.
    """
    return page_of(await index.aggregate(view, project, aggregation_of(ranking)), ranking)


def _marked(text: str | None) -> str:
    """Write a text that may be none as one, for a cursor."""
    return "" if text is None else f"={text}"


def _unmarked(text: str) -> str | None:
    return text[1:] if text else None
