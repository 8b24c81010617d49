"""What a server tells, as objects. Every object keeps what it was made of in ``raw``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self
from urllib.parse import quote

from agenttrace.client.connection import Connection

_MONEY = frozenset({"cost_usd", "given_cost_usd", "cost_difference_usd"})


class _Told:
    """What all objects share: they are made from JSON, and fields that this release does not know stay in ``raw``."""

    @classmethod
    def _values(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        known = {f.name for f in fields(cls) if f.init} - {"raw"}  # type: ignore[arg-type]
        return {n: _value(n, v) for n, v in raw.items() if n in known} | {"raw": dict(raw)}


def _value(name: str, value: Any) -> Any:
    return Decimal(value) if name in _MONEY and value is not None else value


def _time(ns: int | None) -> datetime | None:
    return None if ns is None else datetime.fromtimestamp(ns / 1e9, UTC)


@dataclass(frozen=True, slots=True)
class Message:
    """Something said. ``parts`` are OpenTelemetry's: text, tool calls, tool results, media and more."""

    role: str
    parts: list[dict[str, Any]]
    name: str | None = None
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        """All of its text, a line a part."""
        return "\n".join(str(part["content"]) for part in self.parts if part.get("type") == "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span(_Told):
    """A span, as lists show it. What it does not say is None. Times are nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    status: str
    start_ns: int | None
    duration_ns: int | None
    service: str | None = None
    scope: str | None = None
    status_message: str | None = None
    operation: str | None = None
    provider: str | None = None
    model: str | None = None
    agent: str | None = None
    tool: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Decimal | None = None
    given_cost_usd: Decimal | None = None
    counted: bool | None = None
    time_to_first_chunk_ns: int | None = None
    input_preview: str | None = None
    output_preview: str | None = None
    error_type: str | None = None
    error_group: str | None = None
    environment: str | None = None
    version: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    tags: list[str] | None = None
    quality: list[str] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _connection: Connection | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any], connection: Connection, trace_id: str | None = None) -> Self:
        """Make one from a light row."""
        of_trace: dict[str, Any] = {} if trace_id is None else {"trace_id": trace_id}
        values: dict[str, Any] = cls._values(raw) | of_trace
        return cls(**values, _connection=connection)

    @property
    def start(self) -> datetime | None:
        """When it started, to the microsecond."""
        return _time(self.start_ns)

    @property
    def is_running(self) -> bool:
        """Whether its end has not been heard of."""
        return bool({"running", "no_end"} & set(self.quality))

    def details(self) -> SpanDetails:
        """Ask the server for everything of it."""
        assert self._connection is not None, "made by a client"
        return SpanDetails(self._connection.json(f"/api/v1/traces/{self.trace_id}/spans/{self.span_id}"))

    def messages(self) -> list[Message]:
        """Ask the server for what was said: its input, then its output. Empty where it says neither."""
        details = self.details()
        return [*details.input_messages, *details.output_messages]


class SpanDetails:
    """Everything of a span: ``raw`` as the API tells it, and what is asked for most often."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    @property
    def input_messages(self) -> list[Message]:
        """What it was given."""
        return _messages(self.raw.get("input_messages"))

    @property
    def output_messages(self) -> list[Message]:
        """What it gave."""
        return _messages(self.raw.get("output_messages"))

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes as Python values."""
        return _attributes(self.raw["attributes"])

    @property
    def resource(self) -> dict[str, Any]:
        """The attributes of what sent it."""
        return _attributes(self.raw["resource"]["attributes"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its events: ``time_ns``, ``name`` and ``attributes``."""
        return [{**event, "attributes": _attributes(event["attributes"])} for event in self.raw["events"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(_Told):
    """A trace, summed up. Times are nanoseconds since the epoch."""

    trace_id: str
    name: str
    service: str | None
    start_ns: int
    end_ns: int
    duration_ns: int
    span_count: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    status: str
    state: str
    session_id: str | None
    user_id: str | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _connection: Connection | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any], connection: Connection) -> Self:
        """Make one from a summary."""
        return cls(**cls._values(raw), span_count=raw["spans"], _connection=connection)

    @property
    def start(self) -> datetime:
        """When it started, to the microsecond."""
        start = _time(self.start_ns)
        assert start is not None, "a trace has a start"
        return start

    def spans(self) -> Iterator[Span]:
        """Iterate over all of its spans, by start."""
        assert self._connection is not None, "made by a client"
        path = f"/api/v1/traces/{self.trace_id}"
        for row in self._connection.pages(path, items="spans", size=1000):
            yield Span.of(row, self._connection, self.trace_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity(_Told):
    """A session, user, agent, tool, model or prompt, and its figures. Figures that lists leave out are None."""

    kind: str
    id: str
    spans: int
    trace_count: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    unpriced: int
    first_ns: int | None
    last_ns: int | None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    given_cost_usd: Decimal | None = None
    cost_difference_usd: Decimal | None = None
    p50_ns: float | None = None
    p95_ns: float | None = None
    p99_ns: float | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _connection: Connection | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, kind: str, raw: Mapping[str, Any], connection: Connection) -> Self:
        """Make one from a row of a list."""
        return cls(**cls._values(raw), kind=kind, trace_count=raw["traces"], _connection=connection)

    def traces(self) -> Iterator[Trace]:
        """Iterate over the traces that have a span of it, newest first."""
        assert self._connection is not None, "made by a client"
        path = f"/api/v1/{self.kind}/{quote(self.id, safe='')}"
        for row in self._connection.pages(path, items="traces"):
            yield Trace.of(row, self._connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind(_Told):
    """Spans that failed in one way. ``trace_id`` and ``span_id`` are of the one that failed last."""

    type: str | None
    message: str | None
    name: str
    count: int
    traces: int
    users: int
    sessions: int
    first_ns: int
    last_ns: int
    trace_id: str
    span_id: str
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Make one from a row of the list."""
        return cls(**cls._values(raw))


def _messages(told: Any) -> list[Message]:
    return [Message(m["role"], m["parts"], m.get("name"), m.get("finish_reason")) for m in told or ()]


def _attributes(told: Any) -> dict[str, Any]:
    return {each["key"]: _plain(each.get("value")) for each in told}


def _plain(value: Any) -> Any:
    """Return the Python value of an OTLP/JSON ``AnyValue``."""
    if not isinstance(value, dict) or not value:
        return None
    ((kind, inner),) = list(value.items())[:1]
    if kind == "intValue":
        return int(inner)
    if kind == "arrayValue":
        return [_plain(each) for each in inner.get("values", ())]
    if kind == "kvlistValue":
        return _attributes(inner.get("values", ()))
    return inner
