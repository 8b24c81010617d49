"""Requests made of lines, and made smaller where a server finds them too long or finds fault with one of many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

_SPAN_KEYS = ("resourceSpans", "resource_spans")


@dataclass(slots=True)
class Batch:
    """Some ``ResourceSpans`` from lines ``first`` to ``last`` of ``file``. ``size`` is their JSON's length, about."""

    file: str
    first: int
    last: int
    resource_spans: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0

    @property
    def body(self) -> bytes:
        """The OTLP/JSON request. ASCII, so that lone surrogates arrive as they were written."""
        return json.dumps({"resourceSpans": self.resource_spans}, separators=(",", ":")).encode("ascii")

    @property
    def spans(self) -> int:
        """How many spans are in it."""
        return sum(1 for _ in _spans(self.resource_spans))

    @property
    def place(self) -> str:
        """Where it came from, for people."""
        return f"{self.file}:{self.first}" + (f"-{self.last}" if self.last > self.first else "")

    def halves(self) -> tuple[Batch, Batch] | None:
        """Return two batches that hold its spans between them, None if it holds one span or none."""
        parts = self.resource_spans
        if len(parts) == 1:
            parts = _split(parts[0])
        if len(parts) < 2:
            return None
        middle = len(parts) // 2
        return self._with(parts[:middle]), self._with(parts[middle:])

    def _with(self, parts: list[dict[str, Any]]) -> Batch:
        return Batch(self.file, self.first, self.last, parts, self.size // 2)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no OTLP trace request."""

    place: str
    reason: str


def batches(file: str, lines: Iterable[bytes], max_bytes: int) -> Iterator[Batch | BadLine]:
    """Iterate over requests of about ``max_bytes`` made of whole lines, and over lines that cannot be in one."""
    batch: Batch | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _resource_spans(line)
        if isinstance(found, str):
            yield BadLine(f"{file}:{number}", found)
            continue
        if batch is not None and batch.size + len(line) > max_bytes:
            yield batch
            batch = None
        batch = batch or Batch(file, number, number)
        batch.resource_spans += found
        batch.size += len(line)
        batch.last = number
    if batch is not None:
        yield batch


def _resource_spans(line: bytes) -> list[dict[str, Any]] | str:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    if not isinstance(request, dict):
        return "not an OTLP/JSON request: wanted is an object with resourceSpans"
    for key in _SPAN_KEYS:
        if isinstance(request.get(key), list):
            return [part for part in request[key] if isinstance(part, dict)]
    kind = next((key for key in ("resourceLogs", "resourceMetrics") if key in request), None)
    return f"{kind} are not imported, only resourceSpans" if kind else "there are no resourceSpans in it"


def _spans(resource_spans: Iterable[dict[str, Any]]) -> Iterator[Any]:
    for resource in resource_spans:
        for scope in _list(resource, "scopeSpans", "scope_spans"):
            yield from _list(scope, "spans")


def _split(resource: dict[str, Any]) -> list[dict[str, Any]]:
    scopes = _list(resource, "scopeSpans", "scope_spans")
    bare = {key: value for key, value in resource.items() if key not in ("scopeSpans", "scope_spans")}
    if len(scopes) > 1:
        return [{**bare, "scopeSpans": [scope]} for scope in scopes]
    return [{**bare, "scopeSpans": [{**scope, "spans": [span]}]} for scope in scopes for span in _list(scope, "spans")]


def _list(message: object, *names: str) -> list[Any]:
    if isinstance(message, dict):
        for name in names:
            if isinstance(message.get(name), list):
                return list(message[name])
    return []
