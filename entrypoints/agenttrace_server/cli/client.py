"""The client that all commands share: finds the server, sends the key, and says in one line what went wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from agenttrace_core.errors import (
    AgentTraceError,
    ConfigurationError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    QueryError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from agenttrace_server.cli.options import resolve_server
from agenttrace_server.datafolder import read_endpoints

_RETRY_FOR_S = 120.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_ERRORS: Mapping[int, type[AgentTraceError]] = {
    400: InvalidInputError, 401: UnauthenticatedError, 403: UnauthenticatedError, 404: NotFoundError,
    413: PayloadTooLargeError, 422: LimitExceededError, 429: OverloadedError, 501: UnsupportedError,
    503: UnavailableError,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is. ``ingest`` is the URL to which OTLP requests are posted."""

    api: str
    ingest: str

    @classmethod
    def find(cls, api: str | None, *, data: Path | None = None, config: Path | None = None) -> Server:
        """Take ``api``, else ``AGENTTRACE_API``, else what the data folder's server wrote down.

        Raises:
            ConfigurationError: none of them says where a server is.
        """
        named = api or os.environ.get("AGENTTRACE_API")
        if named:
            if not named.startswith(("http://", "https://")):
                raise ConfigurationError(f"{named!r} is not the URL of an API, such as http://127.0.0.1:8000")
            return cls(named.rstrip("/"), f"{named.rstrip('/')}/api/v1/traces")
        folder = resolve_server(config=config, data=data).settings.data
        found = read_endpoints(folder)
        if found is None:
            raise ConfigurationError(
                f"no server runs on {folder}: start one with `agenttrace up`, "
                "or say where it is with --api or AGENTTRACE_API"
            )
        return cls(found.api, f"{found.otlp_http}/v1/traces")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one request. ``reason`` is empty if nothing was refused."""

    receipt: str | None
    rejected: int
    reason: str


class Client:
    """Speaks to one server. Safe to use from several threads."""

    def __init__(self, server: Server, *, key: str | None = None, timeout_s: float = 60.0) -> None:
        """Prepare; ``key`` is by default that of ``AGENTTRACE_API_KEY``."""
        key = key or os.environ.get("AGENTTRACE_API_KEY")
        self.server = server
        self._http = httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            # A proxy is for the world outside; loopback servers are found without.
            trust_env=not server.api.startswith(("http://127.", "http://localhost", "http://[::1]")),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def reach(self) -> None:
        """Return if anything answers where the server should be, whatever it says.

        Raises:
            UnavailableError: nothing does.
        """
        try:
            self._http.get(f"{self.server.api}/healthz")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON at ``path`` of the API.

        Raises:
            AgentTraceError: the one that the answer's status stands for, with the server's reason.
        """
        return self._request("GET", path, query).json()

    def get_bytes(self, path: str, **query: Any) -> bytes:
        """Return the body at ``path`` of the API as it came. Raises as ``get``."""
        return self._request("GET", path, query).content

    def lines(self, path: str, **query: Any) -> Generator[bytes]:
        """Iterate over the lines at ``path`` of the API as they come, each without its end. Raises as ``get``."""
        rest: list[bytes] = []
        try:
            with self._http.stream("GET", self.server.api + path, params=query) as answer:
                if answer.status_code >= 300:
                    answer.read()
                self._check(answer)
                for piece in answer.iter_bytes():
                    *whole, last = piece.split(b"\n")
                    for end in whole:
                        yield b"".join([*rest, end])
                        rest = []
                    rest.append(last)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if any(rest):
            yield b"".join(rest)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Post JSON, or nothing, to ``path`` of the API and return the JSON answered. Raises as ``get``."""
        answer = self._request("POST", path, {}, body)
        return answer.json() if answer.content else {}

    def delete(self, path: str) -> None:
        """Delete what is at ``path`` of the API. Raises as ``get``."""
        self._request("DELETE", path, {})

    def pages(
        self, path: str, *, limit: int, page: int = 100, items: str = "items", **query: Any
    ) -> Iterator[dict[str, Any]]:
        """Iterate over at most ``limit`` items of a list that is read by cursor."""
        cursor: str | None = None
        while limit > 0:
            place = {"limit": min(limit, page), **({"cursor": cursor} if cursor else {})}
            answer = self.get(path, **query, **place)
            yield from answer[items][:limit]
            limit -= len(answer[items])
            cursor = answer.get("next_cursor")
            if not cursor:
                return

    def send(self, body: bytes, content_type: str = "application/json") -> Sent:
        """Post an OTLP trace request, again and again while the server says that it will do later.

        To send twice is safe: a server knows the body of a request that it has stored.

        Raises:
            InvalidInputError: the server cannot use it. PayloadTooLargeError: it is too long.
            AgentTraceError: it refused for two minutes, or for another reason.
        """
        give_up = time.monotonic() + _RETRY_FOR_S
        while True:
            try:
                answer = self._http.post(self.server.ingest, content=body, headers={"content-type": content_type})
            except httpx.TransportError as error:
                if time.monotonic() > give_up or isinstance(error, httpx.UnsupportedProtocol):
                    raise self._unreachable(error) from error
                time.sleep(0.5)
                continue
            if answer.status_code not in _TRY_AGAIN or time.monotonic() > give_up:
                break
            time.sleep(_retry_after(answer))
        self._check(answer)
        return _sent(answer)

    def _request(
        self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, self.server.api + path, params=query, json=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._check(answer)
        return answer

    def _unreachable(self, error: httpx.HTTPError) -> UnavailableError:
        what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or "no answer"
        return UnavailableError(f"the server at {self.server.api} cannot be reached: {what}")

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code < 300:
            return
        wrong_query = _wrong_query(answer)
        if wrong_query is not None:
            raise wrong_query
        kind = _ERRORS.get(answer.status_code, AgentTraceError)
        hint = " (set AGENTTRACE_API_KEY)" if kind is UnauthenticatedError else ""
        raise kind(f"{_reason(answer) or f'the server answered {answer.status_code}'}{hint}")


def _wrong_query(answer: httpx.Response) -> QueryError | None:
    """Return the error that shows the place in a query, if that is what is wrong."""
    try:
        error = answer.json()["error"]
        if error["kind"] != QueryError.kind:
            return None
        return QueryError(error["message"], problem=error["problem"], position=error["position"])
    except (ValueError, KeyError, TypeError):
        return None


def _reason(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:200]
    if not isinstance(body, dict):
        return str(body)[:200]
    error = body.get("error")
    nested = error.get("message") if isinstance(error, dict) else error
    return str(body.get("message") or body.get("detail") or nested or body)[:500]


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(30.0, max(0.1, float(answer.headers.get("retry-after", "1"))))
    except ValueError:
        return 1.0


def _sent(answer: httpx.Response) -> Sent:
    try:
        body = answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else {}
    except ValueError:
        body = {}
    partial = body.get("partialSuccess") or {}
    return Sent(
        receipt=answer.headers.get("agenttrace-receipt"),
        rejected=int(partial.get("rejectedSpans") or 0),
        reason=str(partial.get("errorMessage") or ""),
    )
