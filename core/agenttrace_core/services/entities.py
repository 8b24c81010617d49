"""Sessions, users, agents, tools, models and prompts as things that can be listed, each with its figures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

import pyarrow as pa

from agenttrace_core.errors import InvalidInputError, NotFoundError
from agenttrace_core.model.algebra import (
    AllOf,
    And,
    Column,
    Compare,
    Field,
    Interval,
    Measure,
    Op,
    Ranking,
    Selection,
    Some,
    TraceSearch,
)
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.trace import TraceSummary
from agenttrace_core.ports.index import GroupRankings, SpanQueries, View
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.ranking import aggregation_of, page_of, place_value
from agenttrace_core.query.summary import summaries_of
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.services.view import Lag, Views

Figure = int | float | Decimal | str | None


class EntityKind(StrEnum):
    """What can be listed."""

    SESSIONS = "sessions"
    USERS = "users"
    AGENTS = "agents"
    TOOLS = "tools"
    MODELS = "models"
    PROMPTS = "prompts"


_FIELDS: Mapping[EntityKind, Field] = {
    EntityKind.SESSIONS: Column("session_id"),
    EntityKind.USERS: Column("user_id"),
    EntityKind.AGENTS: Column("agent"),
    EntityKind.TOOLS: Column("tool"),
    EntityKind.MODELS: Column("model"),
    EntityKind.PROMPTS: Column("prompt"),
}
_OF_THE_LEDGER = (
    Measure.SPANS, Measure.TRACES, Measure.ERRORS, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS, Measure.COST_USD,
    Measure.UNPRICED, Measure.FIRST_NS, Measure.LAST_NS,
)  # fmt: skip
FIGURES = (
    *_OF_THE_LEDGER, Measure.CACHE_READ_TOKENS, Measure.CACHE_WRITE_TOKENS, Measure.REASONING_TOKENS,
    Measure.GIVEN_COST_USD, Measure.COST_DIFFERENCE_USD, Measure.P50_NS, Measure.P95_NS, Measure.P99_NS,
)  # fmt: skip
"""All that is told of one thing; durations are those of its spans."""

LISTED: Mapping[EntityKind, tuple[Measure, ...]] = {
    # Of sessions and users there may be as many as traces: a list tells what the ledger of traces knows.
    kind: _OF_THE_LEDGER if kind in {EntityKind.SESSIONS, EntityKind.USERS} else FIGURES
    for kind in EntityKind
}
"""What a list tells of each."""

DEFAULT_SORT: Mapping[EntityKind, Measure] = {
    kind: Measure.LAST_NS if kind in {EntityKind.SESSIONS, EntityKind.USERS} else Measure.SPANS for kind in EntityKind
}


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing and its figures. Times are nanoseconds since the epoch, of the spans' starts; costs in dollars."""

    id: str
    figures: Mapping[Measure, Figure]


@dataclass(frozen=True, slots=True)
class EntityList:
    """A page of a list. ``next_cursor`` is None on the last."""

    kind: EntityKind
    items: tuple[Entity, ...]
    next_cursor: str | None
    lag: Lag


@dataclass(frozen=True, slots=True)
class EntityDetail:
    """One thing, with all of its figures and a page of its traces, newest first."""

    kind: EntityKind
    entity: Entity
    traces: tuple[TraceSummary, ...]
    next_cursor: str | None
    lag: Lag


class EntityService:
    """Lists what spans belong to.

    Args:
        views: what is readable.
        index: groups the spans.
        cursor_key: the deployment's secret for cursors.
    """

    def __init__(self, views: Views, index: SpanQueries, *, cursor_key: bytes) -> None:
        self._views = views
        self._index = index
        self._cursors = Cursors(cursor_key)

    async def list(
        self,
        principal: Principal,
        kind: EntityKind,
        *,
        selection: Selection | None = None,
        sort: Measure | None = None,
        descending: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> EntityList:
        """Return a page of the project's things of a kind that selected spans name.

        Sessions and users come newest activity first, others with the most spans first, if not asked otherwise.
        A cursor pins the time up to which spans are seen: later pages fit the first.

        Raises:
            InvalidInputError: they cannot be sorted so, or ``cursor`` is not one of this list.
        """
        selection = selection or Selection()
        # The moment by which states are judged is each page's own.
        question = repr((kind, replace(selection, as_of=None), sort, descending))
        bound, after = self._opened(cursor, principal.project, question)
        during = selection.during
        end = during.end_ns if bound is None else bound
        ranking = Ranking(
            replace(selection, during=Interval(during.start_ns, end)),
            (_FIELDS[kind],),
            LISTED[kind],
            sort or DEFAULT_SORT[kind],
            descending,
            limit=limit + 1,
            after=after,
        )
        pinned = time.time_ns() if end is None else end
        seen = await self._views.look()
        rows = await ranked(self._index, seen.view, principal.project, ranking)
        items = entities_of(rows.slice(0, limit))
        if len(rows) <= limit:
            return EntityList(kind, items, None, seen.lag)
        place = (pinned, place_value(items[-1].figures[ranking.order]), items[-1].id)
        return EntityList(kind, items, self._cursors.sign(principal.project, question, place), seen.lag)

    async def get(
        self,
        principal: Principal,
        kind: EntityKind,
        entity_id: str,
        *,
        during: Interval | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> EntityDetail:
        """Return one thing, and a page of the traces that have a span of it.

        Raises:
            NotFoundError: no span of the project names it.
            InvalidInputError: ``cursor`` is not one of this thing's.
        """
        question = repr((kind, entity_id, during))
        after = None if cursor is None else self._cursors.open(cursor, principal.project, question)
        of_it = Compare(_FIELDS[kind], Op.EQ, entity_id)
        during = during or Interval()
        ranking = Ranking(Selection(And((of_it,)), during=during), (_FIELDS[kind],), FIGURES, limit=1)
        seen = await self._views.look()
        found = entities_of(await ranked(self._index, seen.view, principal.project, ranking))
        if not found:
            raise NotFoundError(f"no span of project {principal.project!r} names {entity_id[:80]!r} among its {kind}")
        search = TraceSearch(AllOf((Some(of_it),)), during, limit=limit + 1, after=_place(after))
        sums = await self._index.search(seen.view, principal.project, search)
        traces = summaries_of(sums.slice(0, limit))
        next_cursor = None
        if len(sums) > limit:
            last = sums.slice(limit - 1, 1).to_pylist()[0]
            place = (last["start_ns"], last["start_ns"], trace_id_of(last["trace_hi"], last["trace_lo"]))
            next_cursor = self._cursors.sign(principal.project, question, place)
        return EntityDetail(kind, found[0], traces, next_cursor, seen.lag)

    def _opened(
        self, cursor: str | None, project: str, question: str
    ) -> tuple[int | None, tuple[int | str, ...] | None]:
        if cursor is None:
            return None, None
        bound, *after = self._cursors.open(cursor, project, question)
        return int(bound), tuple(after)


async def ranked(index: SpanQueries, view: View, project: str, ranking: Ranking) -> pa.Table:
    """Return a page of groups, by the index's own ranking where it has one.

    Raises:
        InvalidInputError: groups cannot be ranked by the measure, or there are too many of them.
    """
    if isinstance(index, GroupRankings):
        return await index.ranking(view, project, ranking)
    return page_of(await index.aggregate(view, project, aggregation_of(ranking)), ranking)


def entities_of(rows: pa.Table) -> tuple[Entity, ...]:
    """Return the rows of a ranking by one dimension as things."""
    measures = [Measure(name) for name in rows.column_names if name != "dim0"]
    columns = [rows[measure].to_pylist() for measure in measures]
    return tuple(
        Entity(name, dict(zip(measures, figures, strict=True)))
        for name, *figures in zip(rows["dim0"].to_pylist(), *columns, strict=True)
    )


def _place(opened: list[int | str] | None) -> tuple[int, int, str] | None:
    if opened is None:
        return None
    value, start, trace_id = opened
    if not isinstance(value, int) or not isinstance(start, int) or not isinstance(trace_id, str):
        raise InvalidInputError("the cursor is not one of this list")
    return value, start, trace_id
