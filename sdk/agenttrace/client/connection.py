"""Requests to a server, its errors, its pages and its events."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from agenttrace.client.errors import QueryError, ServerError, UnreachableError, needed

DEFAULT_API = "http://127.0.0.1:8000"
_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")
_NO_VALUES: tuple[object, ...] = (None, "", ())
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Moment = datetime | int | str
"""A time: a ``datetime`` that knows its zone, nanoseconds since the epoch, or RFC 3339."""


class Connection:
    """One server, and the key with which to ask it. Safe to use from several threads.

    Args:
        api: the URL of its API; else ``AGENTTRACE_API``, else ``http://127.0.0.1:8000``.
        key: else ``AGENTTRACE_API_KEY``; none is needed on the server's own machine unless it has keys.
        timeout_s: how long to wait for an answer.
    """

    def __init__(self, api: str | None, key: str | None, timeout_s: float) -> None:
        self.api = (api or os.environ.get("AGENTTRACE_API") or DEFAULT_API).rstrip("/")
        key = key or os.environ.get("AGENTTRACE_API_KEY")
        self._httpx = needed("httpx", "the client")
        self._http = self._httpx.Client(
            base_url=self.api,
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=self._httpx.Timeout(timeout_s, connect=5.0),
            # A proxy is for the world outside; servers on this machine are found without.
            trust_env=not self.api.startswith(_LOOPBACK),
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def json(self, path: str, **query: Any) -> Any:
        """Return the JSON at a path.

        Raises:
            ServerError: the server refuses. UnreachableError: it does not answer.
        """
        return self._get(path, query).json()

    def bytes(self, path: str, **query: Any) -> bytes:
        """Return the body at a path as it came. Raises as ``json``."""
        body: bytes = self._get(path, query).content
        return body

    def pages(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        items: str = "items",
        limit: int | None = None,
        size: int = 100,
    ) -> Iterator[Any]:
        """Iterate over a list, ``size`` items at a time, ``limit`` at most. Raises as ``json``."""
        cursor, left = None, limit
        while left is None or left > 0:
            answer = self.json(path, limit=size if left is None else min(size, left), cursor=cursor, **(query or {}))
            yield from answer[items]
            left = None if left is None else left - len(answer[items])
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def events(self, path: str, **query: Any) -> Iterator[tuple[str, str, str]]:
        """Iterate over server-sent events: name, data, and the last id. Raises as ``json``."""
        with self._telling(), self._http.stream("GET", path, params=_given(query)) as answer:
            if answer.status_code >= 300:
                answer.read()
                _refuse(answer.status_code, answer.content)
            name, data, last_id = "message", "", ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if not field and data:
                    yield name, data, last_id
                    name, data = "message", ""
                last_id = value if field == "id" else last_id
                name = value if field == "event" else name
                data = value if field == "data" else data

    def _get(self, path: str, query: Mapping[str, Any]) -> Any:
        with self._telling():
            answer = self._http.get(path, params=_given(query))
        if answer.status_code >= 300:
            _refuse(answer.status_code, answer.content)
        return answer

    @contextmanager
    def _telling(self) -> Generator[None]:
        try:
            yield
        except self._httpx.HTTPError as error:
            raise UnreachableError(f"the server at {self.api} cannot be reached: {error or 'no answer'}") from error


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value not in _NO_VALUES}


def _refuse(status: int, body: bytes) -> None:
    try:
        error = json.loads(body)["error"]
        message, kind = str(error["message"]), str(error["kind"])
    except (ValueError, KeyError, TypeError):
        raise ServerError(f"the server answered {status}", status=status, kind="unknown") from None
    if error.get("position") is not None:
        raise QueryError(message, status=status, kind=kind, position=int(error["position"]))
    raise ServerError(message, status=status, kind=kind)


def during(since: timedelta | None, start: Moment | None, end: Moment | None) -> dict[str, str]:
    """Return the parameters ``start`` and ``end`` of a question.

    Raises:
        ValueError: both ``since`` and ``start`` are given, or a datetime has no zone.
    """
    if since is not None:
        if start is not None:
            raise ValueError("give since or start, one of the two")
        start = datetime.now(UTC) - since
    return {name: _text(moment) for name, moment in (("start", start), ("end", end)) if moment is not None}


def _text(moment: Moment) -> str:
    if not isinstance(moment, datetime):
        return str(moment)
    if moment.tzinfo is None:
        raise ValueError(f"{moment} says no time zone: use datetime.now(UTC), or moment.astimezone()")
    passed = moment - _EPOCH
    return str((passed.days * 86_400 + passed.seconds) * 10**9 + passed.microseconds * 1000)
