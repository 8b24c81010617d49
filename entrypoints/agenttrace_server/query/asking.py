"""What is asked of many spans, as HTTP has it: parameters into questions of the core's algebra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Query

from agenttrace_core.errors import InvalidInputError, QueryError
from agenttrace_core.model.algebra import Aggregation, Field, Interval, Measure, TraceOrder
from agenttrace_core.model.trace import AsOf
from agenttrace_core.query.fields import FIELDS, is_dimension, name_of
from agenttrace_core.query.language import parse_field
from agenttrace_core.services.analytics import MAX_TOP, MEASURES, Kind
from agenttrace_core.services.ask import select
from agenttrace_server.query.times import bucket, interval

_COMMAS = re.compile(r""",(?=(?:[^"]*"[^"]*")*[^"]*$)""")

QueryText = Annotated[str, Query(alias="q", description="A query; see the page about the query language")]
_START_DOC = "The first moment: RFC 3339, or nanoseconds since the epoch"
_END_DOC = "The moment before which: RFC 3339, or nanoseconds since the epoch"


async def _during(
    start: Annotated[str | None, Query(description=_START_DOC, max_length=64)] = None,
    end: Annotated[str | None, Query(description=_END_DOC, max_length=64)] = None,
) -> Interval:
    return interval(start, end)


During = Annotated[Interval, Depends(_during)]


Sort = Annotated[
    str,
    Query(
        pattern="^(start|duration|cost|tokens)(:(asc|desc))?$",
        description="start, duration, cost or tokens: the greatest first; with :asc, the least",
    ),
]
_ORDERS = {
    "start": TraceOrder.START, "duration": TraceOrder.DURATION, "cost": TraceOrder.COST, "tokens": TraceOrder.TOKENS,
}  # fmt: skip


def ordered(sort: str) -> tuple[TraceOrder, bool]:
    """Return the order that a ``Sort`` names, and whether the greatest come first."""
    name, _, direction = sort.partition(":")
    return _ORDERS[name], direction != "asc"


@dataclass(frozen=True, slots=True)
class Panel:
    """A question for figures: what of (still without measures), by what groups are great, and whether to compare."""

    asked: Aggregation
    top_by: Measure | None
    compare: bool


async def _panel(
    during: During,
    q: QueryText = "",
    length: Annotated[
        str | None, Query(alias="bucket", max_length=32, description="1m, 15m, 1h, 7d, … or hour, day, week, month")
    ] = None,
    group_by: Annotated[str, Query(description="Up to three fields, with commas between", max_length=2048)] = "",
    tz: Annotated[str, Query(max_length=64, description="IANA time zone at whose midnight buckets are cut")] = "UTC",
    compare: Annotated[
        str | None, Query(pattern="^previous$", description="previous: also the period of the same length before")
    ] = None,
    top: Annotated[
        int | None, Query(ge=1, le=MAX_TOP, description="Only so many groups; the others are one, with other true")
    ] = None,
    top_by: Annotated[Measure | None, Query(description="The measure that decides which groups are greatest")] = None,
) -> Panel:
    fields = tuple(_dimension(name) for name in _names(group_by))
    asked = Aggregation(select(q, during), (), fields, bucket(length, tz), top, top_by or Measure.SPANS)
    return Panel(asked, top_by, compare is not None)


PanelAsked = Annotated[Panel, Depends(_panel)]


async def _measures(
    measures: Annotated[str, Query(description="What to tell, with commas between", max_length=1024)] = "spans",
) -> tuple[Measure, ...]:
    return tuple(measure("measures", name) for name in dict.fromkeys(name.strip() for name in measures.split(",")))


MeasuresAsked = Annotated[tuple[Measure, ...], Depends(_measures)]


def measure(parameter: str, name: str) -> Measure:
    """Return the measure of a name.

    Raises:
        InvalidInputError: there is none.
    """
    try:
        return Measure(name)
    except ValueError as error:
        raise InvalidInputError(f"{parameter}: {name[:60]!r} is no measure; there are {', '.join(Measure)}") from error


def judged(asked: Aggregation, as_of: AsOf) -> Aggregation:
    """Return the question with the moment by which it judges the states of traces."""
    return replace(asked, selection=replace(asked.selection, as_of=as_of))


def of_kind(panel: Panel, kind: Kind) -> Panel:
    """Return the question with what its kind tells, where the caller ranks its groups by another measure."""
    if panel.top_by is None:
        return panel
    return replace(panel, asked=replace(panel.asked, measures=MEASURES[kind], top_by=panel.top_by))


def measuring(panel: Panel, measures: Sequence[Measure]) -> Panel:
    """Return a question for these measures; the first of them ranks the groups, unless the caller says which does."""
    asked = replace(panel.asked, measures=tuple(measures), top_by=panel.top_by or measures[0])
    return replace(panel, asked=asked)


def _names(group_by: str) -> tuple[str, ...]:
    """Take a list of names apart. Commas within quotes are a key's own."""
    return tuple(name.strip() for name in _COMMAS.split(group_by)) if group_by.strip() else ()


def _dimension(name: str) -> Field:
    try:
        field = parse_field(name)
    except QueryError as error:
        raise QueryError(f"group_by: {error}", problem=f"group_by: {error.problem}", position=error.position) from error
    if not is_dimension(field):
        known = ", ".join(info.name for info in FIELDS.values() if info.dimension)
        raise InvalidInputError(
            f"group_by: spans cannot be grouped by {name_of(field)}; by {known}, attr.KEY, resource.KEY and score.NAME "
            "they can"
        )
    return field
