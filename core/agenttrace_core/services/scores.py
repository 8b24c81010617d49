"""Scores: taken by the same way as everything that is sent, and read as those that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.ports.index import LogQueries
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.scores import PLACE
from agenttrace_core.services.ingest import Ingested, IngestService, LeftOut
from agenttrace_core.services.view import Lag, Views
from agenttrace_core.wire.simple_score import scores_from_json

_LIST = "scores"
_INLINE_BYTES = 16 << 10
_REASONS_TOLD = 3


@dataclass(frozen=True, slots=True)
class ScoreList:
    """A page of scores that count (``SCORES``), newest first. ``next_cursor`` is None on the last."""

    scores: pa.Table
    next_cursor: str | None
    lag: Lag


class ScoreService:
    """Takes and reads one project's scores.

    Args:
        views: what is readable.
        index: reads them.
        ingest: stores them.
        cursor_key: the deployment's secret for cursors.
    """

    def __init__(self, views: Views, index: LogQueries, ingest: IngestService, *, cursor_key: bytes) -> None:
        self._views = views
        self._index = index
        self._ingest = ingest
        self._cursors = Cursors(cursor_key)

    async def give(self, principal: Principal, body: bytes) -> Ingested:
        """Store scores in plain JSON, and return once they are durable. Those that are wrong are left out.

        Raises:
            InvalidInputError: the body cannot be read, or nothing of it can be stored.
            OverloadedError: there is no room now.
            UnavailableError: it could not be made durable.
        """
        large = len(body) > _INLINE_BYTES
        read = await self._ingest.read(scores_from_json, body) if large else scores_from_json(body)
        reason = "; ".join(refusal.reason for refusal in read.refused[:_REASONS_TOLD])
        if not read.records:
            raise InvalidInputError(reason or "there is no score in the body")
        return await self._ingest.logs(principal, read.body, left_out=LeftOut(len(read.refused), reason))

    async def list(
        self, principal: Principal, wanted: ScoreSelection, *, limit: int, cursor: str | None = None
    ) -> ScoreList:
        """Return a page of the scores that count, newest first.

        Raises:
            InvalidInputError: ``cursor`` is not one that this list gave the project.
        """
        question = f"{_LIST} {wanted!r}"
        before = None if cursor is None else _place(self._cursors.open(cursor, principal.project, question))
        seen = await self._views.look()
        found = await self._index.scores(seen.view, principal.project, wanted, limit=limit + 1, before=before)
        page = found.slice(0, limit)
        if len(found) <= limit:
            return ScoreList(page, None, seen.lag)
        last = page.slice(limit - 1).select(PLACE).to_pylist()[0]
        return ScoreList(page, self._cursors.sign(principal.project, question, tuple(last.values())), seen.lag)

    async def of_session(
        self, principal: Principal, session_id: str, trace_ids: Sequence[str], *, limit: int = 1_000
    ) -> pa.Table:
        """Return the newest scores that count of a session itself and of some of its traces, each once (``SCORES``)."""
        view, project = (await self._views.look()).view, principal.project
        own = await self._index.scores(view, project, ScoreSelection(session_ids=(session_id,)), limit=limit)
        traces = ScoreSelection(trace_ids=tuple(trace_ids))
        theirs = await self._index.scores(view, project, traces, limit=limit)
        both = pa.concat_tables([own, theirs])
        places = {tuple(score.values()): row for row, score in enumerate(both.select(PLACE).to_pylist())}
        newest = sorted(places, reverse=True)[:limit]
        return both.take(pa.array([places[place] for place in newest], pa.int64()))


def _place(given: Sequence[int | str]) -> ScorePlace:
    try:
        return ScorePlace(*(int(part) for part in given))
    except (TypeError, ValueError) as error:
        raise InvalidInputError("the cursor is not one of a list of scores") from error
