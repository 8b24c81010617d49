"""Panels of a dashboard and pages of sessions over HTTP, beside the same asked of DuckDB by hand."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import duckdb

from tests.benchmarks import ledger
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Table, quantiles
from tests.benchmarks.server import Server

_NS = 1_000_000_000
_WEEK_NS = 7 * 86_400 * _NS
_WARM_UP = 2
_GIVEN_UP_S = 30.0
_WITH, _WITHOUT, _SESSIONS = 300.0, 1_000.0, 100.0


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


async def panels(server: Server, plan: Plan, table: Table, newest: int, *, mark: str = "", factor: float = 1) -> None:
    """Ask for every panel and for pages of sessions. ``mark`` is added to the names, ``factor`` to the bounds."""
    bound = (_WITHOUT if "without" in mark else _WITH) * factor
    during = f"start={newest - _WEEK_NS}&end={newest + 1}"
    for panel in PANELS:
        path = f"/api/v1/analytics/{panel.kind}?bucket=1h&group_by={panel.by}&{during}"
        await _ask(server, plan, table, f"{panel.name}{mark}", path, bound)
    quick = _SESSIONS * factor
    first = await _ask(server, plan, table, f"sessions, newest 50{mark}", "/api/v1/sessions?limit=50", quick)
    if first.get("items"):
        session = quote(str(first["items"][-1]["id"]), safe="")
        await _ask(server, plan, table, f"a session by id{mark}", f"/api/v1/sessions/{session}", quick)


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


async def _ask(
    server: Server, plan: Plan, table: Table, name: str, path: str, bound: float
) -> dict[str, list[dict[str, object]]]:
    client, times, answer = server.client(), [], b"{}"
    begun = time.monotonic()
    for _ in range(_WARM_UP + plan.asked):
        took, status, answer = await client.timed_get(path)
        if status != 200:
            raise RuntimeError(f"{path} was answered {status}: {answer[:300]!r}")
        times.append(took)
        if time.monotonic() - begun > _GIVEN_UP_S:
            break
    await client.aclose()
    p50, p95, p99 = quantiles(times[_WARM_UP:] or times, 0.5, 0.95, 0.99)
    table.add(f"{name}, p50", p50, "ms")
    table.add(f"{name}, p95", p95, "ms", f"< {bound:.0f}")
    table.add(f"{name}, p99", p99, "ms")
    found: dict[str, list[dict[str, object]]] = json.loads(answer)
    return found


def _timed(connection: duckdb.DuckDBPyConnection, statement: str, paths: Sequence[str]) -> float:
    begun = time.perf_counter()
    connection.execute(statement, {"paths": paths}).fetchall()
    return (time.perf_counter() - begun) * 1e3
