"""A lying index is caught: each of these breaks one promise about questions, and the suite must fail on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from agenttrace_adapters.memory.index import MemoryIndex
from agenttrace_adapters.memory.questions import Everything
from agenttrace_contracts.base import opened
from agenttrace_contracts.index_world import FolderObjects, World
from agenttrace_contracts.queries import check_every_kind, fill
from agenttrace_core.model.algebra import (
    Aggregation,
    AllOf,
    And,
    AnyOf,
    Attribute,
    Compare,
    Contains,
    Interval,
    Measure,
    NoneOf,
    Not,
    Op,
    Or,
    Present,
    Related,
    Relation,
    Selection,
    Some,
    SpanPredicate,
    TracePredicate,
    TraceSearch,
)
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveState


class Misreads(MemoryIndex):
    """Takes predicates for others. The liars say which. It reads a view once, to be through with the suite sooner."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[tuple[int, str], Everything] = {}

    async def _everything(self, view: View, project: str, asked_scores: Iterable[str]) -> Everything:
        key = len(view.live.chunks), project
        if key not in self._read:
            self._read[key] = await super()._everything(view, project, asked_scores)
        return self._read[key]

    def span(self, predicate: SpanPredicate) -> SpanPredicate:
        match predicate:
            case And(of=parts):
                return And(tuple(map(self.span, parts)))
            case Or(of=parts):
                return Or(tuple(map(self.span, parts)))
            case Not(of=part):
                return Not(self.span(part))
            case _:
                return predicate

    def trace(self, predicate: TracePredicate) -> TracePredicate:
        match predicate:
            case AllOf(of=parts):
                return AllOf(tuple(map(self.trace, parts)))
            case AnyOf(of=parts):
                return AnyOf(tuple(map(self.trace, parts)))
            case NoneOf(of=part):
                return NoneOf(self.trace(part))
            case Some(span=span):
                return Some(self.span(span))
            case _:
                return predicate

    def selection(self, selection: Selection) -> Selection:
        return replace(selection, spans=self.span(selection.spans), traces=self.trace(selection.traces))

    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        return await super().search(view, project, replace(search, where=self.trace(search.where)))

    async def spans(
        self, view: View, project: str, selection: Selection, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> pa.Table:
        return await super().spans(view, project, self.selection(selection), limit=limit, after=after)

    async def aggregate(self, view: View, project: str, aggregation: Aggregation) -> pa.Table:
        asked = replace(aggregation, selection=self.selection(aggregation.selection))
        return self.figures(await super().aggregate(view, project, asked), aggregation)

    def figures(self, answer: pa.Table, _: Aggregation) -> pa.Table:
        return answer


class NegatesAsSqlDoes(Misreads):
    """Leaves spans without a value out of a negation, as three-valued logic does."""

    def span(self, predicate: SpanPredicate) -> SpanPredicate:
        if isinstance(predicate, Not) and isinstance(predicate.of, Compare):
            return And((Present(predicate.of.field), predicate))
        return super().span(predicate)


class ComparesNumbersAsText(Misreads):
    """Looks for the digits of a number in an attribute."""

    def span(self, predicate: SpanPredicate) -> SpanPredicate:
        if isinstance(predicate, Compare) and isinstance(predicate.field, Attribute):
            return replace(predicate, value=str(predicate.value))
        return super().span(predicate)


class KnowsNoResource(Misreads):
    """Finds an attribute of a resource under its bare key."""

    def span(self, predicate: SpanPredicate) -> SpanPredicate:
        if isinstance(predicate, Compare | Present) and isinstance(predicate.field, Attribute):
            return replace(predicate, field=replace(predicate.field, resource=False))
        return super().span(predicate)


class ReadsNoPayload(Misreads):
    """Searches light rows only."""

    def span(self, predicate: SpanPredicate) -> SpanPredicate:
        return replace(predicate, payload=False) if isinstance(predicate, Contains) else super().span(predicate)


class GlobsAsFilesystemsDo(Misreads):
    """Takes ``?`` for any character."""

    def span(self, predicate: SpanPredicate) -> SpanPredicate:
        if isinstance(predicate, Compare) and predicate.op is Op.GLOB:
            pattern = "(?s)^" + str(predicate.value).replace("*", ".*").replace("?", ".") + "$"
            return replace(predicate, op=Op.REGEX, value=pattern)
        return super().span(predicate)


class BindsTermsToOneSpan(Misreads):
    """Wants all terms of one span, where each may be of another."""

    def trace(self, predicate: TracePredicate) -> TracePredicate:
        if isinstance(predicate, AllOf) and predicate.of and all(isinstance(part, Some) for part in predicate.of):
            return Some(And(tuple(part.span for part in predicate.of if isinstance(part, Some))))
        return super().trace(predicate)


class TakesDescendantsForChildren(Misreads):
    """Looks one level down only."""

    def trace(self, predicate: TracePredicate) -> TracePredicate:
        if isinstance(predicate, Related):
            steps = (
                replace(s, relation=Relation.CHILD) if s.relation is Relation.DESCENDANT else s for s in predicate.steps
            )
            return replace(predicate, steps=tuple(steps))
        return super().trace(predicate)


class ForgetsWhatIsTheSame(Misreads):
    """Finds a path whose spans do not agree."""

    def trace(self, predicate: TracePredicate) -> TracePredicate:
        if isinstance(predicate, Related):
            return replace(predicate, steps=tuple(replace(step, same=()) for step in predicate.steps))
        return super().trace(predicate)


class SeesFilesOnly(Misreads):
    """Answers without what is live."""

    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        return await super().search(replace(view, live=LiveState()), project, search)


class IgnoresTheEnd(Misreads):
    """Finds what starts after the time that was asked."""

    def selection(self, selection: Selection) -> Selection:
        return replace(selection, during=Interval(selection.during.start_ns))


class RepeatsTheLast(Misreads):
    """Begins a page with the last trace of the one before."""

    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        if search.after is not None:
            value, start_ns, trace_id = search.after
            search = replace(search, after=(value, start_ns, f"{int(trace_id, 16) + 1:032x}"))
        return await super().search(view, project, search)


class SortsOnePageAtATime(Misreads):
    """Finds the newest, and sorts those."""

    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        newest = await super().search(view, project, TraceSearch(search.where, limit=search.limit, as_of=search.as_of))
        return await super().search(view, project, search) if search.after else newest


class AddsFloats(Misreads):
    """Adds money up as doubles."""

    def figures(self, answer: pa.Table, _: Aggregation) -> pa.Table:
        name = Measure.COST_USD.value
        if name not in answer.column_names:
            return answer
        rounded = [Decimal(f"{float(cost) + 0.1 - 0.1:.12f}") for cost in answer[name].to_pylist()]
        return answer.set_column(
            answer.column_names.index(name), name, pa.array(rounded, answer.schema.field(name).type)
        )


class ApproximatesPercentiles(Misreads):
    """Takes the nearest value for the percentile."""

    def figures(self, answer: pa.Table, question: Aggregation) -> pa.Table:
        name = Measure.P95_NS.value
        if name not in answer.column_names:
            return answer
        whole = [None if value is None else float(np.floor(value)) for value in answer[name].to_pylist()]
        return answer.set_column(answer.column_names.index(name), name, pa.array(whole, pa.float64()))


class DropsTheRest(Misreads):
    """Tells of the top groups, and of no other."""

    def figures(self, answer: pa.Table, _: Aggregation) -> pa.Table:
        return answer.filter(pa.array([not other for other in answer["other"].to_pylist()], pa.bool_()))


_LIARS = (
    NegatesAsSqlDoes, ComparesNumbersAsText, KnowsNoResource, ReadsNoPayload, GlobsAsFilesystemsDo,
    BindsTermsToOneSpan, TakesDescendantsForChildren, ForgetsWhatIsTheSame, SeesFilesOnly, IgnoresTheEnd,
    RepeatsTheLast, SortsOnePageAtATime, AddsFloats, ApproximatesPercentiles, DropsTheRest,
)  # fmt: skip


@pytest.mark.anyio
async def test_an_honest_index_passes(tmp_path: Path) -> None:
    """Otherwise the liars below might be caught for something that they do not lie about."""
    await _ask(Misreads(), tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize("liar", _LIARS)
async def test_a_liar_is_caught(liar: Callable[[], MemoryIndex], tmp_path: Path) -> None:
    """A suite that a liar passes proves nothing about those who pass it."""
    with pytest.raises(AssertionError):
        await _ask(liar(), tmp_path)


async def _ask(index: MemoryIndex, folder: Path) -> None:
    storage = FolderObjects(folder)
    index.attach(storage)
    async with opened(index):
        world = World(storage)
        await fill(world)
        for about in ("traces", "spans", "figures"):
            await check_every_kind(index, world, about)
