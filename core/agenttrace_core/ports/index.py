"""The span index: finds traces and fetches rows, over files and the live table together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from agenttrace_core.model.algebra import Aggregation, Field, Ranking, Selection, TraceSearch
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.model.segment import Snapshot
from agenttrace_core.model.trace import TracePosition
from agenttrace_core.ports.adapter import Adapter
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.live import LiveState
from agenttrace_core.ports.storage import ObjectStorage


@dataclass(frozen=True, slots=True)
class IndexCapabilities:
    """What an index can do beyond the port's methods."""

    sql: bool
    """Answers SQL over its rows (``SqlIndex``)."""
    queries: bool = False
    """Answers questions of the algebra (``SpanQueries``)."""


@dataclass(frozen=True, slots=True)
class View:
    """What one query sees, from beginning to end: a catalog snapshot, and the live rows above it.

    ``live.chunks`` holds only chunks at or above the snapshot's watermarks; ``live.superseded``
    only what the snapshot does not say yet.
    """

    snapshot: Snapshot
    live: LiveState


@dataclass(frozen=True, slots=True)
class Location:
    """Where one row is: a segment file's id or a live chunk's, and the row's number in it."""

    source: str
    row: int


@runtime_checkable
class SpanIndex(Adapter, Protocol):
    """Reads rows of one project out of a view. Superseded and dead rows are never returned.

    Two versions of one span may still be returned, where neither is known to be superseded;
    ``agenttrace_core.services.read`` settles those.
    """

    @property
    @abstractmethod
    def capabilities(self) -> IndexCapabilities:
        """Constant over the adapter's life."""

    @abstractmethod
    def attach(self, storage: ObjectStorage) -> None:
        """Say where the objects of segment files are. Call before ``open``."""

    @abstractmethod
    async def traces(self, view: View, project: str, *, limit: int, before: TracePosition | None = None) -> pa.Table:
        """Return the newest traces below ``before``, newest first by (start, trace id), at most ``limit``.

        One row a trace, in the ``TRACES`` schema with sums over all of the view; ``first_row`` and
        ``rows`` are 0.
        """

    @abstractmethod
    async def summaries(self, view: View, project: str, trace_ids: Sequence[str]) -> pa.Table:
        """The same rows for given traces, in the order asked; unknown ids are left out."""

    @abstractmethod
    async def versions(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the light rows of some traces, in any order: ``LIGHT`` (or ``columns``) and ``LOCATION``."""

    @abstractmethod
    async def payload(self, view: View, locations: Sequence[Location]) -> pa.Table:
        """Return ``PAYLOAD`` rows, in the order asked. The caller bounds how many.

        Locations come from ``versions`` on the same view; a project is therefore not asked again.
        """


@runtime_checkable
class UsesCache(Protocol):
    """Optional: an index that gets by a cache, which processes share, what each would have to get for itself."""

    @abstractmethod
    def use_cache(self, cache: Cache) -> None:
        """Use ``cache``, which is open. Call before ``open``. Answers are the same, whatever is found in it."""


@runtime_checkable
class Arrivals(Protocol):
    """The optional ability of an index to go on from where a reader has come to, record by record."""

    @abstractmethod
    async def arrivals(self, view: View, project: str, since: Mapping[int, int], *, limit: int) -> pa.Table:
        """Return light rows (``LIGHT`` and ``LOCATION``) of records at or after ``since``, in order of arrival.

        ``since`` is by partition the offset of the first record that is wanted; partitions that it does not name
        are wanted whole. Rows below the snapshot's ``offset_base`` never are (``query.arrivals.is_new``). Rows
        come by (partition, offset, position): the first ``limit``, and what else came with the last one's record,
        so that a record is never divided.
        """


@runtime_checkable
class SqlIndex(Protocol):
    """The optional ability of an index to answer SQL (``IndexCapabilities.sql``)."""

    @abstractmethod
    async def sql(self, view: View, project: str, statement: str) -> pa.Table:
        """Run one statement over the table ``spans``: the project's rows of the view, ``LIGHT`` and ``LOCATION``.

        Superseded and dead rows are not in it. The statement is trusted: it is written by this
        program, never by a caller, since an engine may well read what lies outside ``spans``.

        Raises:
            InvalidInputError: the engine refuses the statement.
        """


@runtime_checkable
class SpanQueries(Protocol):
    """The ability of an index to answer questions of ``agenttrace_core.model.algebra`` over one project of a view.

    Superseded and dead rows are never seen. Answers do not depend on what is in files and what is live, nor on
    how files have been merged.
    """

    @abstractmethod
    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        """Return traces in the order asked, one row each, in the ``TRACES`` schema with sums over all of the view.

        Raises:
            InvalidInputError: a regular expression is none.
        """

    @abstractmethod
    async def spans(
        self, view: View, project: str, selection: Selection, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> pa.Table:
        """Return light rows (``LIGHT`` and ``LOCATION``), newest first by (start, trace id, span id).

        ``after`` is the place of the last row of the page before.

        Raises:
            InvalidInputError: a regular expression is none.
        """

    @abstractmethod
    async def aggregate(self, view: View, project: str, aggregation: Aggregation) -> pa.Table:
        """Return a row a group: ``bucket_ns`` (if asked), ``dim0`` … (text), ``other``, and a column a measure.

        Counts, tokens and times are int64, costs ``decimal128(38, 12)``, percentiles, means and rates float64.

        Raises:
            InvalidInputError: a regular expression is none, or there are too many groups without ``top``.
        """


@runtime_checkable
class TraceOwners(Protocol):
    """The optional ability of an index to list sessions and users by the ledger of traces, without any row.

    ``column`` is ``session_id`` or ``user_id``. A trace belongs to the one that its root names, else to the first
    that is named; see ``agenttrace_core.query.owners``.
    """

    @abstractmethod
    async def owners(self, view: View, project: str, column: str, ranking: Ranking) -> pa.Table:
        """Return a page of owners of the traces that start within ``ranking.selection.during``: ``OWNERS``.

        Of ``ranking``, the interval, order, limit and place count.

        Raises:
            InvalidInputError: owners cannot be ranked by the measure.
        """

    @abstractmethod
    async def owned(self, view: View, project: str, column: str, name: str) -> pa.Table:
        """Return all traces of an owner, newest first: ``TRACES``, with sums over all of the view."""


@runtime_checkable
class LogQueries(Protocol):
    """The ability of an index to read log events, and the scores among them, of one project of a view."""

    @abstractmethod
    async def log_records(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the log records of some traces, in any order: ``LOGS``, or ``columns`` of it.

        A record that was sent twice in different requests is there twice.
        """

    @abstractmethod
    async def scores(
        self,
        view: View,
        project: str,
        wanted: ScoreSelection,
        *,
        limit: int | None = None,
        before: ScorePlace | None = None,
    ) -> pa.Table:
        """Return the scores that count (``query.scores``), newest first, in the ``SCORES`` schema.

        At most ``limit`` are returned, of those after the place ``before``. What has been replaced is never
        returned, also where what replaced it is not wanted.
        """


@runtime_checkable
class FieldValues(Protocol):
    """The optional ability of an index to say what values and keys occur, for completion.

    It looks at the newest spans, at least at some hundred thousand; what is rarer than that may be left out,
    and counts are of those spans.
    """

    @abstractmethod
    async def values(
        self, view: View, project: str, field: Field, *, prefix: str = "", limit: int = 20
    ) -> Sequence[tuple[str, int]]:
        """Return the commonest values of a field of texts that begin so, with how many spans have each."""

    @abstractmethod
    async def attribute_keys(
        self, view: View, project: str, *, prefix: str = "", limit: int = 20
    ) -> Sequence[tuple[str, int]]:
        """Return the commonest keys of attributes that begin so, likewise; of the resource's with ``resource.``."""
