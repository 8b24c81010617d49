"""Traces read and understood, and kept for whoever asks again: a page of a long one must not cost the whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.trace import TraceSummary
from agenttrace_core.model.trace_detail import TraceDetail, TraceError
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.query.detail import detail_of, explaining_error
from agenttrace_core.query.settle import SETTLE_COLUMNS
from agenttrace_core.query.shape import TraceShape
from agenttrace_core.query.skew import clock_skew
from agenttrace_core.query.summary import summary_of
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import LIGHT, LOCATION
from agenttrace_core.services.log_events import with_told
from agenttrace_core.services.otlp_pieces import located, span_messages
from agenttrace_core.services.queries import logs_of
from agenttrace_core.services.trace_rows import behind, settled_rows
from agenttrace_core.services.view import Seen

# Some columns fewer are much of the time that a trace takes.
_UNSHOWN = {"partition", "offset", "position", "attributes", "more_attributes"}
SHOWN_COLUMNS = tuple(name for name in LIGHT.names if name not in _UNSHOWN)
"""The columns of ``LIGHT`` that are shown of a span."""

_SMALL_ROWS = 2_000
_KEPT_ROWS = 100_000
_KEPT_TRACES = 64
_LONGEST_MESSAGE = 1_000


@dataclass(frozen=True, slots=True)
class Known:
    """A trace, read and understood: its rows, settled and in order, with ``SHOWN_COLUMNS``, and what they make up."""

    rows: pa.Table
    shape: TraceShape
    skew: Int64s
    summary: TraceSummary
    detail: TraceDetail

    @classmethod
    def of(cls, rows: pa.Table) -> Known:
        """Understand the rows of a trace."""
        shape = TraceShape.of(rows)
        skew = clock_skew(rows, shape)
        return cls(rows, shape, skew, summary_of(rows), detail_of(rows, shape, skew))


class KnownTraces:
    """Reads traces, and keeps those that were looked at last.

    Args:
        index: finds and reads rows.
    """

    def __init__(self, index: SpanIndex) -> None:
        self._index = index
        self._recent = _Recent()

    async def known(self, seen: Seen, project: str, trace_id: str) -> Known:
        """Return a trace as it is in ``seen``. Where its rows are is told as of an earlier view, maybe.

        Raises:
            NotFoundError: the project has no such trace.
        """
        return (await self._kept(seen, project, trace_id)).known

    async def span_rows(self, seen: Seen, project: str, trace_id: str, span_id: str) -> pa.Table:
        """Return the rows of a span (more than one where its id is another's too), and where they are in ``seen``.

        Raises:
            NotFoundError: the project has no such trace, or the trace no such span.
        """
        kept = await self._kept(seen, project, trace_id)
        rows = kept.known.rows
        found = np.flatnonzero(np.asarray(pc.equal(rows["span_id"], pa.scalar(span_id, pa.string()))))
        if len(found) == 0:
            raise NotFoundError(f"no span {span_id} in trace {trace_id}{behind(seen.lag)}")
        rows = rows.take(pa.array(found))
        if kept.located != _moment(seen.view):
            moved = await settled_rows(self._index, seen, project, trace_id, SETTLE_COLUMNS)
            for name in LOCATION.names:
                place = rows.schema.get_field_index(name)
                rows = rows.set_column(place, LOCATION.field(name), moved[name].take(pa.array(found)))
        return rows

    async def _kept(self, seen: Seen, project: str, trace_id: str) -> _Kept:
        kept = self._recent.get(project, trace_id)
        if kept is not None and await self._is_as_it_was(kept, seen, project, trace_id):
            return kept
        rows = await settled_rows(self._index, seen, project, trace_id, SHOWN_COLUMNS)
        rows = await with_told(logs_of(self._index), seen.view, project, trace_id, rows)
        known = Known.of(rows) if len(rows) <= _SMALL_ROWS else await to_thread.run_sync(Known.of, rows)
        error, row = known.detail.error, explaining_error(rows, known.shape)
        if error is not None and row is not None and (error.message is None or error.type is None):
            told = await self._told(seen.view, rows.slice(row, 1), error)
            known = replace(known, detail=replace(known.detail, error=told))
        sums = [] if len(rows) <= _SMALL_ROWS else await self._sums(seen, project, trace_id)
        moment = _moment(seen.view)
        kept = _Kept(moment, moment, sums, known)
        self._recent.put(project, trace_id, kept)
        return kept

    async def _is_as_it_was(self, kept: _Kept, seen: Seen, project: str, trace_id: str) -> bool:
        """Say whether nothing has come of a trace since it was read, which its sums tell at little cost."""
        moment = _moment(seen.view)
        if kept.moment == moment:
            return True
        if not kept.sums or kept.sums != await self._sums(seen, project, trace_id):
            return False
        kept.moment = moment
        return True

    async def _sums(self, seen: Seen, project: str, trace_id: str) -> list[dict[str, Any]]:
        sums: list[dict[str, Any]] = (await self._index.summaries(seen.view, project, [trace_id])).to_pylist()
        return sums

    async def _told(self, view: View, row: pa.Table, error: TraceError) -> TraceError:
        """Take what the light row does not say of an error from the exception that the span recorded."""
        [(span, *_)] = span_messages(await self._index.payload(view, located(row)))
        told = _exception(span)
        return replace(error, type=error.type or told.get("type"), message=error.message or told.get("message"))


_Moment = tuple[object, ...]


def _moment(view: View) -> _Moment:
    """Tell views apart without keeping one, which would keep its live chunks, too."""
    live = view.live
    return (
        view.snapshot.version,
        len(view.snapshot.files),
        live.epoch,
        tuple(chunk.id for chunk in live.chunks),
        tuple(sorted(live.tail.items())),
    )


@dataclass(slots=True)
class _Kept:
    """A trace as of ``moment``, its rows where they were in ``located``.

    ``sums`` are its row of the ledger; of a small one, which is soon read again, there are none.
    """

    moment: _Moment
    located: _Moment
    sums: list[dict[str, Any]]
    known: Known


class _Recent:
    """The traces that were looked at last: whoever leafs through one asks again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def get(self, project: str, trace_id: str) -> _Kept | None:
        """Return what is kept of a trace, and keep it for longer."""
        kept = self._kept.get((project, trace_id))
        if kept is not None:
            self._kept.move_to_end((project, trace_id))
        return kept

    def put(self, project: str, trace_id: str, kept: _Kept) -> None:
        """Keep a trace, and forget others for it."""
        self._kept[project, trace_id] = kept
        self._kept.move_to_end((project, trace_id))
        while len(self._kept) > _KEPT_TRACES or sum(len(k.known.rows) for k in self._kept.values()) > _KEPT_ROWS:
            self._kept.popitem(last=False)


def _exception(span: Mapping[str, Any]) -> dict[str, str]:
    for event in span.get("events", ()):
        if event.get("name") == "exception":
            said = {a.get("key"): (a.get("value") or {}).get("stringValue") for a in event.get("attributes", ())}
            told = {name: said.get(f"exception.{name}") for name in ("type", "message")}
            return {name: text[:_LONGEST_MESSAGE] for name, text in told.items() if text}
    return {}
