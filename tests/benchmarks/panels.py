"""Panels of a dashboard, lists and completion over HTTP, beside the same panels asked of DuckDB by hand."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import duckdb

from tests.benchmarks import ledger
from tests.benchmarks.asking import Asker
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Table

_NS = 1_000_000_000
_WEEK_NS = 7 * 86_400 * _NS
_WITH_ROLLUPS, WITHOUT_ROLLUPS, _SESSIONS = 300.0, 1_000.0, 100.0


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel by hour for a week: what is asked, and what somebody would ask DuckDB of the light files by hand."""

    kind: str
    by: str
    figures: str

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.kind} by hour and {self.by}, a week"


_USAGE = (
    "count(*), count(DISTINCT trace_id), count(*) FILTER (status = 'error'), sum(input_tokens) FILTER (counted), "
    "sum(output_tokens) FILTER (counted), sum(cost_usd) FILTER (counted)"
)
_LATENCY = "count(*), quantile_cont(duration_ns, [0.5, 0.95, 0.99])"
_ERRORS = "count(*), count(DISTINCT trace_id), count(*) FILTER (status = 'error')"
_COST = "count(*), count(DISTINCT trace_id), sum(cost_usd) FILTER (counted)"

PANELS = tuple(
    Panel(kind, by, figures)
    for kind, figures in (("usage", _USAGE), ("latency", _LATENCY), ("errors", _ERRORS), ("cost", _COST))
    for by in ("model", "agent")
)

LISTS = (
    ("sessions, dearest 50", "sessions?limit=50&sort=cost_usd"),
    ("users, newest 50", "users?limit=50"),
    ("users, dearest 50", "users?limit=50&sort=cost_usd"),
    ("agents", "agents"),
    ("models", "models"),
    ("errors by kind", "errors"),
    ("completion of a value", "complete?q=model%3Am"),
    ("completion of a field", "complete?q=attr.app"),
)
"""Lists without a bound of their own."""


async def panels(asker: Asker, newest: int, *, bound: float = _WITH_ROLLUPS) -> None:
    """Ask for every panel. ``newest`` is when the newest trace began, ``bound`` in ms at p95."""
    during = f"start={newest - _WEEK_NS}&end={newest + 1}"
    for panel in PANELS:
        path = f"/api/v1/analytics/{panel.kind}?bucket=1h&group_by={panel.by}&{during}"
        await asker.ask(panel.name, path, bound)


async def lists(asker: Asker) -> None:
    """Ask for pages of sessions and what else can be listed."""
    first = await asker.ask("sessions, newest 50", "/api/v1/sessions?limit=50", _SESSIONS)
    if first["items"]:
        session = quote(str(first["items"][-1]["id"]), safe="")
        await asker.ask("a session by id", f"/api/v1/sessions/{session}", _SESSIONS)
    for name, path in LISTS:
        await asker.ask(name, f"/api/v1/{path}")


def panels_by_hand(plan: Plan, table: Table, newest: int) -> None:
    """Ask DuckDB the same of the same files: no live rows, no corrections."""
    paths = list(map(str, ledger.objects(plan.library, "light")))
    with contextlib.closing(duckdb.connect(config={"threads": 2, "memory_limit": "256MB"})) as connection:
        connection.execute("SET parquet_metadata_cache = true")
        for panel in PANELS:
            by = "context_agent" if panel.by == "agent" else panel.by
            statement = (
                f"SELECT start_ns // {3600 * _NS} AS hour, {by}, {panel.figures} FROM read_parquet($paths) "  # noqa: S608 - of ours
                f"WHERE start_ns > {newest - _WEEK_NS} GROUP BY ALL"
            )
            took = min(_timed(connection, statement, paths) for _ in range(2))
            table.add(f"{panel.name}: DuckDB alone, by hand", took, "ms")


def _timed(connection: duckdb.DuckDBPyConnection, statement: str, paths: Sequence[str]) -> float:
    begun = time.perf_counter()
    connection.execute(statement, {"paths": paths}).fetchall()
    return (time.perf_counter() - begun) * 1e3
