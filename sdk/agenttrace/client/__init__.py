"""A client of a server's API: traces as objects, figures as Arrow, pandas or polars.

::

    from datetime import timedelta
    from agenttrace.client import Client

    with Client() as client:
        for trace in client.traces("status:error", since=timedelta(days=1)):
            print(trace.name, trace.cost_usd)
        frame = client.cost(group_by=["model"], since=timedelta(days=7)).to_pandas()

Importing it loads nothing but the standard library. ``Client`` needs httpx, and the conversions what they
are named after; what is missing is told with the command that installs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Self, TypedDict, Unpack
from urllib.parse import quote

from agenttrace.client.connection import Connection, Moment, during
from agenttrace.client.errors import (
    ClientError,
    MissingPackageError,
    QueryError,
    ServerError,
    UnreachableError,
)
from agenttrace.client.figures import Figures
from agenttrace.client.model import Entity, ErrorKind, Message, Span, SpanDetails, Trace

__all__ = [
    "Client",
    "ClientError",
    "Entity",
    "ErrorKind",
    "Figures",
    "Message",
    "MissingPackageError",
    "QueryError",
    "ServerError",
    "Span",
    "SpanDetails",
    "Trace",
    "UnreachableError",
]


class During(TypedDict, total=False):
    """A time: ``since`` so long ago or from ``start``, and until before ``end``."""

    since: timedelta
    start: Moment
    end: Moment


class Asked(During, total=False):
    """What is asked of groups of spans.

    ``bucket``: pieces of time, such as ``15m``, ``1h`` or ``day``, cut at midnight of ``timezone``. ``group_by``: up to
    three fields, such as ``model`` or ``attr.region``. ``top``: only so many groups have rows of their own, the
    greatest by ``top_by``. ``compare``: also what the period before had.
    """

    bucket: str
    timezone: str
    group_by: Sequence[str]
    top: int
    top_by: str
    compare: bool


class Listed(During, total=False):
    """How things are listed: at most ``limit``, all if it is not given; ``sort``: by a figure, the greatest first."""

    sort: str
    limit: int


class Client:
    """Asks one server. Use it as a context manager, or call ``close``. Safe to use from several threads.

    Everywhere ``query`` is a query in the query language, and the time is from ``since`` so long ago, or ``start``,
    until before ``end``: a ``datetime`` with its zone, nanoseconds since the epoch, or text as in RFC 3339.

    Args:
        api: the URL of the server's API; else ``AGENTTRACE_API``, else ``http://127.0.0.1:8000``.
        key: else ``AGENTTRACE_API_KEY``; none is needed on the server's own machine, unless it has keys.
        timeout_s: how long to wait for an answer.

    Raises:
        MissingPackageError: httpx is not installed.
    """

    def __init__(self, api: str | None = None, *, key: str | None = None, timeout_s: float = 60.0) -> None:
        self._connection = Connection(api, key, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    # --- Traces and spans ------------------------------------------------------------------------

    def traces(
        self,
        query: str = "",
        *,
        since: timedelta | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        sort: str = "start",
        limit: int | None = None,
    ) -> Iterator[Trace]:
        """Iterate over the traces that a query selects, newest first.

        Args:
            query: what is asked; everything, if it is empty.
            since: how long ago they start at most; instead of ``start``.
            start: when they start at the earliest.
            end: before when they start.
            sort: ``start``, ``duration``, ``cost`` or ``tokens``: the greatest first; with ``:asc``, the least.
            limit: how many at most; all, a page at a time, if not given.
        """
        asked = {"q": query, "sort": sort, **during(since, start, end)}
        for raw in self._connection.pages("/api/v1/traces", asked, limit=limit):
            yield Trace.of(raw, self._connection)

    def trace(self, trace_id: str) -> Trace:
        """Return one trace.

        Raises:
            ServerError: there is none, with kind ``not_found``.
        """
        raw = self._connection.json(f"/api/v1/traces/{quote(trace_id, safe='')}", limit=1)
        return Trace.of(raw["summary"], self._connection)

    def spans(
        self,
        query: str = "",
        *,
        since: timedelta | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
    ) -> Iterator[Span]:
        """Iterate over the spans that a query selects, newest first."""
        asked = {"q": query, **during(since, start, end)}
        for raw in self._connection.pages("/api/v1/spans", asked, limit=limit, size=1000):
            yield Span.of(raw, self._connection)

    def live(self, query: str = "") -> Iterator[Span]:
        """Iterate over spans as they arrive, without end. One that is running comes again once it has ended."""
        for name, data, _ in self._connection.events("/api/v1/live", q=query):
            if name == "span":
                yield Span.of(json.loads(data), self._connection)

    # --- Figures ---------------------------------------------------------------------------------

    def usage(self, query: str = "", **asked: Unpack[Asked]) -> Figures:
        """Return spans, traces, errors, tokens and cost of groups of spans."""
        return self._figures("/usage", query, asked)

    def latency(self, query: str = "", **asked: Unpack[Asked]) -> Figures:
        """Return exact percentiles of duration of groups of spans."""
        return self._figures("/latency", query, asked)

    def errors(self, query: str = "", **asked: Unpack[Asked]) -> Figures:
        """Return how many spans of each group there are, and how many failed."""
        return self._figures("/errors", query, asked)

    def cost(self, query: str = "", **asked: Unpack[Asked]) -> Figures:
        """Return what groups of spans cost, by our prices and by their senders'."""
        return self._figures("/cost", query, asked)

    def analytics(self, query: str = "", *, measures: Sequence[str], **asked: Unpack[Asked]) -> Figures:
        """Return any measures of groups of spans, such as ``spans``, ``cost_usd`` or ``p95_ns``."""
        return self._figures("", query, asked, measures=",".join(measures))

    def _figures(self, path: str, query: str, asked: Asked, **more: str) -> Figures:
        parameters = {
            "q": query,
            "bucket": asked.get("bucket"),
            "tz": asked.get("timezone"),
            "group_by": ",".join(asked.get("group_by", ())),
            "top": asked.get("top"),
            "top_by": asked.get("top_by"),
            "compare": "previous" if asked.get("compare") else None,
        }
        time = during(asked.get("since"), asked.get("start"), asked.get("end"))
        return Figures(self._connection, f"/api/v1/analytics{path}", {**parameters, **time, **more})

    # --- Lists -----------------------------------------------------------------------------------

    def sessions(self, query: str = "", **asked: Unpack[Listed]) -> Iterator[Entity]:
        """Iterate over sessions, the newest activity first."""
        return self._entities("sessions", query, asked)

    def users(self, query: str = "", **asked: Unpack[Listed]) -> Iterator[Entity]:
        """Iterate over users, the newest activity first."""
        return self._entities("users", query, asked)

    def agents(self, query: str = "", **asked: Unpack[Listed]) -> Iterator[Entity]:
        """Iterate over agents, those of most spans first."""
        return self._entities("agents", query, asked)

    def tools(self, query: str = "", **asked: Unpack[Listed]) -> Iterator[Entity]:
        """Iterate over tools, those called most first."""
        return self._entities("tools", query, asked)

    def models(self, query: str = "", **asked: Unpack[Listed]) -> Iterator[Entity]:
        """Iterate over models, those called most first."""
        return self._entities("models", query, asked)

    def prompts(self, query: str = "", **asked: Unpack[Listed]) -> Iterator[Entity]:
        """Iterate over prompts, those used most first."""
        return self._entities("prompts", query, asked)

    def session(self, session_id: str) -> Entity:
        """Return one session with all of its figures; ``traces()`` of it are its traces.

        Raises:
            ServerError: there is none, with kind ``not_found``.
        """
        raw = self._connection.json(f"/api/v1/sessions/{quote(session_id, safe='')}", limit=1)
        return Entity.of("sessions", raw["item"], self._connection)

    def error_kinds(
        self,
        query: str = "",
        *,
        since: timedelta | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        limit: int | None = None,
    ) -> Iterator[ErrorKind]:
        """Iterate over the kinds of errors among the spans that a query selects, the most frequent first."""
        asked = {"q": query, **during(since, start, end)}
        return map(ErrorKind.of, self._connection.pages("/api/v1/errors", asked, limit=limit))

    def _entities(self, kind: str, query: str, asked: Listed) -> Iterator[Entity]:
        time = during(asked.get("since"), asked.get("start"), asked.get("end"))
        parameters = {"q": query, "sort": asked.get("sort"), **time}
        for raw in self._connection.pages(f"/api/v1/{kind}", parameters, limit=asked.get("limit")):
            yield Entity.of(kind, raw, self._connection)
