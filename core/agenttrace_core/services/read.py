"""Answers from spans: lists of traces, trees, single spans, whole traces as OTLP/JSON, receipts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.messages.media import Blob, MediaId
from agenttrace_core.model.ids import parse_span_id, parse_trace_id
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.receipt import Receipt
from agenttrace_core.model.score import ScoreSelection
from agenttrace_core.model.trace import AsOf, TracePosition, TraceSummary
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.ports.storage import TieredObjects
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.settle import SETTLE_COLUMNS, settle
from agenttrace_core.query.summary import summaries_of
from agenttrace_core.services.explain import Explanation
from agenttrace_core.services.known_traces import KnownTraces
from agenttrace_core.services.otlp_pieces import trace_pieces
from agenttrace_core.services.queries import logs_of
from agenttrace_core.services.span_detail import SpanDetail, span_details, span_explanations, span_media
from agenttrace_core.services.tiers import restoring
from agenttrace_core.services.trace_rows import settled_rows
from agenttrace_core.services.trace_views import Part, SpanOrder, TracePage, TraceViews
from agenttrace_core.services.view import Lag, Seen, Views

_LIST = "traces"
_SCORES = 1_000
_EXPORT_TRACES = 64
_LOCATING_COLUMNS = ("trace_id", *SETTLE_COLUMNS)


@dataclass(frozen=True, slots=True)
class TraceList:
    """A page of the list of traces. ``next_cursor`` is None on the last."""

    items: tuple[TraceSummary, ...]
    next_cursor: str | None
    lag: Lag
    as_of: AsOf


@dataclass(frozen=True, slots=True)
class ReceiptState:
    """What has become of an acknowledged request. ``readable`` and ``in_files`` are of what was accepted."""

    receipt: Receipt
    readable: bool
    in_files: bool


class ReadService:
    """Answers one project's questions from one view each.

    Args:
        views: what is readable.
        index: finds and reads rows.
        receipt_key: the deployment's secret, with which the doors sign receipts.
        cursor_key: the deployment's secret for cursors.
        pricing: the prices that the writer counts with.
        tiers: the tiers of the storage, if it has them: what is archived is restored for who wants to read it.
        broken_after_s: silence after which a trace without a root counts as broken.
        clock_ns: tells the time, since the epoch.
    """

    def __init__(
        self,
        views: Views,
        index: SpanIndex,
        *,
        receipt_key: bytes,
        cursor_key: bytes,
        broken_after_s: float = 600.0,
        tiers: TieredObjects | None = None,
        pricing: Pricing = PACKAGE_PRICES,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._views = views
        self._index = index
        self._receipt_key = receipt_key
        self._cursors = Cursors(cursor_key)
        self._traces = KnownTraces(index)
        self._trace_views = TraceViews(index, self._traces, cursor_key=cursor_key)
        self._broken_after_ns = int(broken_after_s * 1e9)
        self._pricing = pricing
        self._tiers = tiers
        self._clock_ns = clock_ns

    async def view(self) -> Seen:
        """Return what is readable now."""
        return await self._views.look()

    def as_of(self) -> AsOf:
        """Return by what the state of a trace is judged now."""
        return AsOf(self._clock_ns(), self._broken_after_ns)

    async def traces(self, principal: Principal, *, limit: int, cursor: str | None = None) -> TraceList:
        """Return a page of the project's traces, newest first by (start, trace id).

        Raises:
            InvalidInputError: ``cursor`` is not one that this list gave the project.
        """
        project = principal.project
        before = None if cursor is None else TracePosition(*self._cursors.open(cursor, project, _LIST))  # type: ignore[arg-type]
        seen = await self._views.look()
        sums = await self._index.traces(seen.view, project, limit=limit + 1, before=before)
        items = summaries_of(sums.slice(0, limit))
        more = len(sums) > limit
        place = (items[-1].start_ns, items[-1].trace_id) if more else ()
        return TraceList(items, self._cursors.sign(project, _LIST, place) if more else None, seen.lag, self.as_of())

    async def trace(
        self,
        principal: Principal,
        trace_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        order: SpanOrder = SpanOrder.START,
    ) -> TracePage:
        """Return a page of a trace's spans, what the whole trace is, and its scores.

        Raises:
            NotFoundError: the project has no such trace.
            InvalidInputError: ``trace_id`` is none, or ``cursor`` was not given for this question.
        """
        seen = await self._views.look()
        page = await self._page(seen, principal, trace_id, limit=limit, cursor=cursor, order=order)
        wanted = ScoreSelection(trace_ids=(page.summary.trace_id,))
        scores = await logs_of(self._index).scores(seen.view, principal.project, wanted, limit=_SCORES)
        return replace(page, scores=scores)

    async def trace_spans(
        self,
        principal: Principal,
        trace_id: str,
        part: Part,
        *,
        limit: int,
        cursor: str | None = None,
        order: SpanOrder = SpanOrder.TREE,
    ) -> TracePage:
        """Return a page of a part of a trace's spans.

        Raises:
            NotFoundError: the project has no such trace, or the trace no span that ``part`` names.
            InvalidInputError: an id is none, or ``cursor`` was not given for this question.
            QueryError: the query of ``part`` is none.
        """
        seen = await self._views.look()
        return await self._page(seen, principal, trace_id, limit=limit, cursor=cursor, order=order, part=part)

    async def _page(self, seen: Seen, principal: Principal, trace_id: str, **asked: Any) -> TracePage:
        trace_id = parse_trace_id(trace_id)
        return await self._trace_views.page(seen, principal.project, trace_id, self.as_of(), **asked)

    async def span(self, principal: Principal, trace_id: str, span_id: str) -> list[SpanDetail]:
        """Return all that is known of a span; more than one where senders used its id twice, in the trace's order.

        Raises:
            NotFoundError: the project has no such span.
            InvalidInputError: an id is none.
        """
        trace_id, span_id = parse_trace_id(trace_id), parse_span_id(span_id)
        seen = await self._views.look()
        async with restoring(self._tiers):
            return await span_details(self._index, self._traces, seen, principal.project, trace_id, span_id)

    async def explain(self, principal: Principal, trace_id: str, span_id: str) -> list[Explanation]:
        """Return why a span's canonical values are what they are; more than one where senders used its id twice.

        Raises:
            NotFoundError: the project has no such span.
            InvalidInputError: an id is none.
        """
        trace_id, span_id = parse_trace_id(trace_id), parse_span_id(span_id)
        seen = await self._views.look()
        asked = (principal.project, trace_id, span_id)
        async with restoring(self._tiers):
            return await span_explanations(self._index, self._traces, seen, *asked, self._pricing)

    async def media(self, principal: Principal, media_id: str) -> Blob:
        """Return the bytes of a picture, sound or file in a message.

        Raises:
            NotFoundError: the project has nothing by that id.
        """
        media = MediaId.parse(media_id)
        seen = await self._views.look()
        async with restoring(self._tiers):
            return await span_media(self._index, self._traces, seen, principal.project, media)

    async def trace_otlp(self, principal: Principal, trace_id: str) -> AsyncIterator[bytes]:
        """Return the whole trace as one OTLP/JSON request, in pieces of some megabytes at most.

        Nothing is lost of what was sent, but that a trace of many spans repeats its resources.

        Raises:
            NotFoundError: the project has no such trace. Raised before the first piece.
            InvalidInputError: ``trace_id`` is none.
        """
        trace_id = parse_trace_id(trace_id)
        seen = await self._views.look()
        rows = await settled_rows(self._index, seen, principal.project, trace_id, _LOCATING_COLUMNS)
        return trace_pieces(self._index, seen.view, rows)

    async def export(self, principal: Principal) -> AsyncIterator[bytes]:
        """Return all traces as they are now, newest first: pieces of OTLP/JSON, a line a trace.

        Raises:
            UnavailableError: a backend does not answer. Raised before the first piece.
        """
        return self._exported((await self._views.look()).view, principal.project)

    async def receipt(self, principal: Principal, receipt_id: str) -> ReceiptState:
        """Return what has become of an acknowledged request.

        Raises:
            NotFoundError: the receipt was not given to this project.
        """
        receipt = Receipt.open(receipt_id, self._receipt_key, principal.project)
        seen = await self._views.look()
        return ReceiptState(
            receipt,
            readable=receipt.is_below(seen.readable),
            in_files=receipt.is_below(seen.view.snapshot.watermarks),
        )

    async def _exported(self, view: View, project: str) -> AsyncIterator[bytes]:
        before: TracePosition | None = None
        while True:
            sums = await self._index.traces(view, project, limit=_EXPORT_TRACES, before=before)
            page = summaries_of(sums)
            async for piece in self._export_page(view, project, [item.trace_id for item in page]):
                yield piece
            if len(page) < _EXPORT_TRACES:
                return
            before = TracePosition(page[-1].start_ns, page[-1].trace_id)

    async def _export_page(self, view: View, project: str, trace_ids: list[str]) -> AsyncIterator[bytes]:
        rows = await self._index.versions(view, project, trace_ids, columns=_LOCATING_COLUMNS)
        for trace_id in trace_ids:
            own = rows.filter(pc.equal(rows["trace_id"], pa.scalar(trace_id, pa.string())))
            async for piece in trace_pieces(self._index, view, settle(own)):
                yield piece
            yield b"\n"
