"""Figures laid out for a terminal of any width: what matters most is kept where there is little room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.table import Table
from rich.text import Text

from agenttrace_server.cli import terminal
from agenttrace_server.cli.charts import bar, sparkline
from agenttrace_server.cli.figure_columns import COLUMNS, Column, Row

_GAP = 2
_CHANGE = 8
_NARROWEST_CHART, _WIDEST_CHART = 8, 40
_WIDEST_NAME = 44
_ALL = ["all"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is to be shown.

    Attributes:
        kind: usage, latency, errors or cost.
        groups: a row a group, or where there are no dimensions, a piece of time.
        total: the row of everything.
        series: a row a group and piece of time.
        dimensions: names of the columns that tell groups apart.
        timezone: in which times are told.
        step_ns: about how long a piece of time is.
        since_ns: the beginning of what is asked about, if it is known.
        compare: whether rows hold the period before, too.
    """

    kind: str
    groups: Sequence[Row]
    total: Row
    series: Sequence[Row]
    dimensions: tuple[str, ...]
    timezone: str
    since_ns: int | None = None
    step_ns: int = 3600 * 10**9
    compare: bool = False


def figure_table(figures: Figures, width: int) -> Table:
    """Return the table: what each group is, a chart of its most important figure, and as many figures as fit."""
    columns = COLUMNS[figures.kind]
    names = [_name(row, figures) for row in figures.groups]
    rows = [*figures.groups, figures.total]
    shown = [[column.shown(row) for column in columns] for row in rows]
    widths = [max(len(column.heading), *map(len, cells)) for column, *cells in zip(columns, *shown, strict=True)]
    left = width - _width_of(names, figures) - _NARROWEST_CHART - (_CHANGE + _GAP if figures.compare else 0)
    kept = _fitting(widths, left)
    chart = min(_WIDEST_CHART, _NARROWEST_CHART + max(0, left - sum(size + _GAP for size in widths[:kept])))
    headings = [column.heading for column in columns[:kept]] + (["change"] if figures.compare else [])
    table = terminal.table(*_head(figures), "", *headings, right=tuple(headings))
    for column in table.columns:
        column.no_wrap = True
    charts = [*_charts(figures, columns[0], chart), ""]
    for row, cells, name, drawing in zip(rows, shown, [*names, _ALL], charts, strict=True):
        told = [*name, *([""] * (len(_head(figures)) - len(name)))]
        table.add_row(
            *(terminal.cell(part, "cyan" if name is not _ALL else "bold", _WIDEST_NAME) for part in told),
            Text(drawing, style="green", no_wrap=True),
            *(Text(cell, style="bold" if name is _ALL else "") for cell in cells[:kept]),
            *([_change(row, columns[0])] if figures.compare else []),
        )
    return table


def _fitting(widths: Sequence[int], left: int) -> int:
    """Return how many columns fit; at least one is shown."""
    fit = 0
    for size in widths:
        left -= size + _GAP
        if left < 0:
            break
        fit += 1
    return max(1, fit)


def _head(figures: Figures) -> tuple[str, ...]:
    return figures.dimensions or ("time",)


def _width_of(names: Sequence[Sequence[str]], figures: Figures) -> int:
    heads = _head(figures)
    longest = [max([len(head), *(min(_WIDEST_NAME, len(name[i])) for name in names)]) for i, head in enumerate(heads)]
    return sum(longest) + _GAP * len(longest)


def _name(row: Row, figures: Figures) -> list[str]:
    if not figures.dimensions:
        return [_moment(int(row["bucket"]), figures.timezone)]
    if row.get("other"):
        return ["(others)", *([""] * (len(figures.dimensions) - 1))]
    return ["(none)" if row[name] is None else str(row[name]) for name in figures.dimensions]


def _charts(figures: Figures, drawn: Column, width: int) -> list[str]:
    """A bar a piece of time; or a line of time a group, all lines on one scale of time."""
    if not figures.dimensions:
        values = [drawn.value(row) for row in figures.groups]
        most = max((value for value in values if value), default=0.0)
        return [bar(value, most, width) for value in values]
    times = sorted({int(row["bucket"]) for row in figures.series})
    # Where clocks are put forward or back, pieces are not all of one length: each has the place that is nearest.
    step = figures.step_ns
    # What came before the first piece that has something belongs to the picture, but not without end.
    before = 0 if figures.since_ns is None else min(500, max(0, (times[0] - figures.since_ns) // step))
    lines: dict[tuple[Any, ...], list[float | None]] = {}
    for row in figures.series:
        line = lines.setdefault(_key(row, figures), [None] * (1 + before + round((times[-1] - times[0]) / step)))
        line[before + round((int(row["bucket"]) - times[0]) / step)] = drawn.value(row)
    return [sparkline(lines.get(_key(row, figures), []), width) for row in figures.groups]


def _key(row: Row, figures: Figures) -> tuple[Any, ...]:
    return (bool(row.get("other")), *(row[name] for name in figures.dimensions))


def _change(row: Row, column: Column) -> Text:
    """Return by how much the most important figure has changed since the period before."""
    before = column.value(
        {name.removeprefix("previous_"): v for name, v in row.items() if name.startswith("previous_")}
    )
    now = column.value(row)
    if now is None or not before:
        return Text("new" if now else "", style="dim")
    change = (now - before) / before * 100
    return Text(f"{change:+,.0f}%" if abs(change) < 100_000 else ">999x", style="red" if change > 0 else "green")


def _moment(ns: int, timezone: str) -> str:
    try:
        return datetime.fromtimestamp(ns // 10**9, ZoneInfo(timezone)).strftime("%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{ns} ns"
