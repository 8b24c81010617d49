"""Completion of a query that is being written: what the language knows, and what occurs in spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import Aggregation, Compare, Field, Measure, Op, Present, Selection
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.score import ScoreSelection
from agenttrace_core.ports.index import FieldValues, LogQueries, SpanIndex, SpanQueries, View
from agenttrace_core.query.complete import (
    Place,
    Suggestion,
    Wanted,
    asked_of_index,
    key_suggestion,
    place_at,
    suggestions_at,
    value_suggestion,
)
from agenttrace_core.query.fields import ATTRIBUTE, RESOURCE, SCORE
from agenttrace_core.services.view import Views

_NEWEST_SCORES = 1000


@dataclass(frozen=True, slots=True)
class Completion:
    """Suggestions, of which each can replace the characters from ``start`` to ``end`` of the query."""

    start: int
    end: int
    items: Sequence[Suggestion]


class CompletionService:
    """Suggests how a query of one project can go on.

    Args:
        views: what is readable.
        index: knows which values occur. One that answers no questions has none to suggest.
    """

    def __init__(self, views: Views, index: SpanIndex) -> None:
        self._views = views
        self._index = index

    async def complete(self, principal: Principal, text: str, at: int | None = None, *, limit: int = 20) -> Completion:
        """Return at most ``limit`` suggestions for a cursor before the character ``at``, else at the end.

        Raises:
            QueryError: the text is too long, or holds a character that no query can.
            InvalidInputError: ``at`` is not within the text.
        """
        at = len(text) if at is None else at
        if not 0 <= at <= len(text):
            raise InvalidInputError(f"at: must be from 0 to {len(text)}, the length of the query")
        place = place_at(text, at)
        found = suggestions_at(place)
        field = asked_of_index(place)
        if field is not None or place.wanted in {Wanted.TERM, Wanted.FIELD}:
            view = (await self._views.look()).view
            project = principal.project
            found += await (
                self._keys(view, project, place) if field is None else self._values(view, project, place, field)
            )
        return Completion(place.start, at, found[:limit])

    async def _values(self, view: View, project: str, place: Place, field: Field) -> list[Suggestion]:
        if isinstance(self._index, FieldValues):
            values = await self._index.values(view, project, field, prefix=place.prefix)
            return [value_suggestion(value, place.style, spans) for value, spans in values]
        if not isinstance(self._index, SpanQueries):
            return []
        begins = Compare(field, Op.GLOB, f"{place.prefix}*") if place.prefix else Present(field)
        asked = Aggregation(Selection(begins), (Measure.SPANS,), (field,), top=20)
        rows = (await self._index.aggregate(view, project, asked)).to_pylist()
        return [
            value_suggestion(row["dim0"], place.style, row["spans"])
            for row in rows
            if row["dim0"] is not None and row["dim0"].startswith(place.prefix)
        ]

    async def _keys(self, view: View, project: str, place: Place) -> list[Suggestion]:
        """Keys of attributes and names of scores, once their prefix has been written."""
        prefix, dot, rest = place.prefix.partition(".")
        prefix += dot
        if prefix == SCORE:
            return await self._score_names(view, project, rest)
        if not dot or not isinstance(self._index, FieldValues):
            return []
        if prefix == RESOURCE:
            keys = await self._index.attribute_keys(view, project, prefix=place.prefix)
            return [key_suggestion(RESOURCE, key.removeprefix(RESOURCE), spans) for key, spans in keys]
        keys = await self._index.attribute_keys(view, project, prefix=rest if prefix == ATTRIBUTE else place.prefix)
        own = [(key, spans) for key, spans in keys if not key.startswith(RESOURCE)]
        return [key_suggestion(ATTRIBUTE if prefix == ATTRIBUTE else "", key, spans) for key, spans in own]

    async def _score_names(self, view: View, project: str, prefix: str) -> list[Suggestion]:
        if not isinstance(self._index, LogQueries):
            return []
        scores = await self._index.scores(view, project, ScoreSelection(), limit=_NEWEST_SCORES)
        names = sorted({name for name in scores["name"].to_pylist() if name.startswith(prefix)})
        return [key_suggestion(SCORE, name) for name in names]
