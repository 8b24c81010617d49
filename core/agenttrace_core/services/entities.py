"""Sessions, users, agents, tools, models and prompts as things that can be listed, each with its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import partial

import pyarrow as pa

from agenttrace_core.errors import InvalidInputError, NotFoundError
from agenttrace_core.model.algebra import (
    EVERY_SPAN,
    EVERY_TRACE,
    Aggregation,
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
from agenttrace_core.ports.index import SpanIndex, SpanQueries, TraceOwners, View
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.grouping import MEASURED, aggregate_rows
from agenttrace_core.query.owners import OWNED, owners_of
from agenttrace_core.query.summary import summaries_of
from agenttrace_core.query.sums import below
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.services.ranked_pages import RankedPages, ranked
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
_OWNERS = {EntityKind.SESSIONS: "session_id", EntityKind.USERS: "user_id"}
"""Of these there may be as many as traces: they are listed by the ledger of traces, where the index can."""

_SMALL_SPANS = 5_000
"""A session or user of so many spans is told of by its rows too."""

FIGURES = (
    *OWNED, Measure.CACHE_READ_TOKENS, Measure.CACHE_WRITE_TOKENS, Measure.REASONING_TOKENS,
    Measure.GIVEN_COST_USD, Measure.COST_DIFFERENCE_USD, Measure.P50_NS, Measure.P95_NS, Measure.P99_NS,
)  # fmt: skip
"""All that is told of one thing; durations are those of its spans."""

LISTED: Mapping[EntityKind, tuple[Measure, ...]] = {kind: OWNED if kind in _OWNERS else FIGURES for kind in EntityKind}
"""What a list tells of each."""

DEFAULT_SORT: Mapping[EntityKind, Measure] = {
    kind: Measure.LAST_NS if kind in _OWNERS else Measure.SPANS for kind in EntityKind
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
        self._pages = RankedPages(views, self._cursors)

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
        ranking = Ranking(
            selection or Selection(), (_FIELDS[kind],), LISTED[kind], sort or DEFAULT_SORT[kind], descending,
            limit=limit,
        )  # fmt: skip
        answer = partial(self._ranked, principal.project, kind)
        page = await self._pages.page(principal.project, kind, ranking, answer, cursor)
        return EntityList(kind, entities_of(page.rows), page.next_cursor, page.lag)

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
        if isinstance(self._index, TraceOwners) and kind in _OWNERS and during in {None, Interval()}:
            return await self._owner(self._index, principal.project, kind, entity_id, limit, _place(after), question)
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
        return EntityDetail(kind, found[0], traces, self._next(sums, limit, principal.project, question), seen.lag)

    async def _owner(
        self,
        index: TraceOwners,
        project: str,
        kind: EntityKind,
        entity_id: str,
        limit: int,
        after: tuple[int, int, str] | None,
        question: str,
    ) -> EntityDetail:
        """Tell of a session or user what the ledger says, and of a small one what its rows say too."""
        column = _OWNERS[kind]
        seen = await self._views.look()
        sums = await index.owned(seen.view, project, column, entity_id)
        if len(sums) == 0:
            raise NotFoundError(f"no trace of project {project!r} names {entity_id[:80]!r} among its {kind}")
        figures = dict(entities_of(owners_of(sums, column))[0].figures)
        figures |= await self._figures_of_rows(seen.view, project, sums)
        if after is not None:
            sums = sums.filter(pa.array(below(sums, *after[1:])))
        traces = summaries_of(sums.slice(0, limit))
        entity = Entity(entity_id, {measure: figures.get(measure) for measure in FIGURES})
        return EntityDetail(kind, entity, traces, self._next(sums, limit, project, question), seen.lag)

    async def _figures_of_rows(self, view: View, project: str, sums: pa.Table) -> Mapping[Measure, Figure]:
        if not isinstance(self._index, SpanIndex) or sum(sums["spans"].to_pylist()) > _SMALL_SPANS:
            return {}
        ids = [summary.trace_id for summary in summaries_of(sums)]
        rows = await self._index.versions(view, project, ids, columns=MEASURED)
        told = tuple(measure for measure in FIGURES if measure not in OWNED)
        whole = aggregate_rows(rows, dict.fromkeys(ids, 0), Aggregation(Selection(), told)).to_pylist()
        return {Measure(name): value for name, value in whole[0].items() if name != "other"}

    async def _ranked(self, project: str, kind: EntityKind, view: View, ranking: Ranking) -> pa.Table:
        selection = ranking.selection
        is_all = selection.spans == EVERY_SPAN and selection.traces == EVERY_TRACE
        if isinstance(self._index, TraceOwners) and kind in _OWNERS and is_all:
            owners: pa.Table = await self._index.owners(view, project, _OWNERS[kind], ranking)
            return owners
        return await ranked(self._index, view, project, ranking)

    def _next(self, sums: pa.Table, limit: int, project: str, question: str) -> str | None:
        if len(sums) <= limit:
            return None
        last = sums.slice(limit - 1, 1).to_pylist()[0]
        place = (last["start_ns"], last["start_ns"], trace_id_of(last["trace_hi"], last["trace_lo"]))
        return self._cursors.sign(project, question, place)


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
