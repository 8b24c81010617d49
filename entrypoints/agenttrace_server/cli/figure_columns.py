"""What is shown of each kind of figures, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agenttrace_server.cli.text import amount, dollars, duration

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A figure: what it is called, its value in a row of the API, and how that is written."""

    heading: str
    value: Callable[[Row], float | None]
    shown: Callable[[Row], str]


def _number(heading: str, name: str) -> Column:
    return Column(heading, lambda row: row.get(name), lambda row: amount(row.get(name)))


def _time(heading: str, name: str) -> Column:
    return Column(heading, lambda row: row.get(name), lambda row: _ns(row.get(name)))


def _money(heading: str, name: str) -> Column:
    return Column(heading, lambda row: float(row.get(name) or 0), lambda row: dollars(row.get(name)))


def _ns(value: float | None) -> str:
    return "" if value is None else duration(int(value))


def _tokens(row: Row) -> int:
    return int(row.get("input_tokens") or 0) + int(row.get("output_tokens") or 0)


def _rate(row: Row) -> float | None:
    return row["errors"] / row["spans"] if row.get("spans") else None


def _per_s(row: Row) -> str:
    value = row.get("output_tokens_per_s")
    return "" if value is None else f"{value:,.1f}"


_SPANS, _TRACES = _number("spans", "spans"), _number("traces", "traces")
_IN, _OUT = _number("in", "input_tokens"), _number("out", "output_tokens")
_TOKENS = Column("tokens", _tokens, lambda row: amount(_tokens(row)))
_RATE = Column("rate", _rate, lambda row: f"{100 * (_rate(row) or 0):.1f}%")
_COST = _money("cost", "cost_usd")

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "usage": (
        _TOKENS, _SPANS, _IN, _OUT, _COST, _TRACES, _number("errors", "errors"), _number("cached", "cache_read_tokens"),
        _number("written", "cache_write_tokens"), _number("reasoning", "reasoning_tokens"),
    ),
    "latency": (
        _time("p95", "p95_ns"), _time("p50", "p50_ns"), _time("p99", "p99_ns"), _SPANS, _time("mean", "mean_ns"),
        _time("first chunk", "ttfc_p50_ns"), _time("its p95", "ttfc_p95_ns"),
        Column("tokens/s", lambda row: row.get("output_tokens_per_s"), _per_s),
    ),
    "errors": (_number("errors", "errors"), _RATE, _SPANS, _TRACES),
    "cost": (
        _COST, _IN, _OUT, _SPANS, _number("unpriced", "unpriced"), _money("given", "given_cost_usd"),
        _money("differs", "cost_difference_usd"), _TRACES,
    ),
}  # fmt: skip
"""The most important first; the first of all is drawn."""
