"""Figures in a terminal: charts that tell the truth, in the room that there is, whatever strangers call things."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from agenttrace_server.cli.asking import asked, bucket_for
from agenttrace_server.cli.charts import bar, sparkline
from agenttrace_server.cli.entities import entity_table
from agenttrace_server.cli.figure_table import Figures, figure_table
from agenttrace_server.cli.text import amount, dollars

HOUR = 3600 * 10**9
HOSTILE = "\x1b[31mred\x1b[0m [bold]no[/bold]\n\u202egpj"


def row(model: str | None, bucket: int = 0, **values: Any) -> dict[str, Any]:
    zeros = dict.fromkeys(("spans", "traces", "errors", "input_tokens", "output_tokens", "unpriced"), 0)
    money = dict.fromkeys(("cost_usd", "given_cost_usd", "cost_difference_usd"), "0.000000000000")
    return {"model": model, "bucket": bucket, "other": False, **zeros, **money, **values}


def drawn(figures: Figures, width: int) -> str:
    out = StringIO()
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(figure_table(figures, width))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 140, 240])
@pytest.mark.parametrize("kind", ["usage", "latency", "errors", "cost"])
def test_every_line_fits_the_terminal_and_nothing_is_obeyed(kind: str, width: int) -> None:
    """Lost otherwise: the table, to a wrapped line; or the terminal, to a model's name."""
    rows = [
        row("gpt-4.1", spans=1_234_567, input_tokens=10**9),
        row(HOSTILE, spans=3),
        row(None),
        row(None, other=True),
    ]
    total = row("", spans=1_234_570, cost_usd="1234.500000000000")
    shown = drawn(Figures(kind, rows, total, rows, ("model",), "UTC"), width)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    if width >= 80:
        assert "\\x1b[31mred" in shown
        assert "(others)" in shown
        assert "(none)" in shown


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_name_takes_no_room_from_figures(width: int) -> None:
    """Lost otherwise: what lists of sessions and models are looked at for, in a window of the usual width."""
    counts = {"traces": 1_234, "spans": 123_456, "errors": 4_321, "input_tokens": 12_345_678, "output_tokens": 1}
    times = {"last_ns": 1_795_719_600 * 10**9, "p50_ns": 10**9, "p95_ns": 2 * 10**9}
    item = {"id": "resp_0401f348de3b68550069d6f97bea1081" * 4, "cost_usd": "12.34", "unpriced": 3, **counts, **times}
    out = StringIO()
    screen = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    screen.print(entity_table([item], "session", narrow=width < 110))
    heads, shown = out.getvalue().splitlines()
    assert heads.split()[:6] == ["session", "last", "traces", "spans", "errors", "tokens"]
    for figure in ("resp_", "1,234", "123,456", "4,321", "12.35M", "$12.34+?"):
        assert figure in shown


def test_a_line_of_time_has_a_place_for_what_was_silent() -> None:
    """Lost otherwise: the hour in which nothing happened, which is what one looks for."""
    series = [row("a", 10 * HOUR, errors=4), row("a", 12 * HOUR, errors=8)]
    total = row("", spans=20, errors=12)
    figures = Figures("errors", [row("a", errors=12)], total, series, ("model",), "UTC", since_ns=8 * HOUR)
    assert "··▅·█" in drawn(figures, 80)


def test_charts_are_as_high_and_long_as_their_values() -> None:
    """Lost otherwise: a chart that one can believe."""
    assert sparkline([0, 1, None, 8], 10) == "▁▂·█"
    assert sparkline([1.0] * 100 + [8.0], 10)[-1] == "█"
    assert len(sparkline([1.0] * 1000, 10)) == 10
    assert sparkline([], 10) == ""
    assert (bar(8, 8, 4), bar(4, 8, 4), bar(0, 8, 4), bar(None, 8, 4), bar(1, 800, 4)) == ("████", "██", "", "", "▏")


def test_numbers_are_short_and_money_keeps_its_digits() -> None:
    """Lost otherwise: a cost of a thousandth of a cent, shown as nothing."""
    assert [amount(n) for n in (0, 12_345, 1_234_567, 5_000_000_000)] == ["", "12,345", "1.23M", "5.00G"]
    costs = ("0.000000000000", "0.000000220000", "0.108555000000", "4.561000000000", "12345.670000000000")
    assert [dollars(c) for c in costs] == ["$0", "$0.000000220", "$0.109", "$4.56", "$12,346"]


def test_ages_become_times_and_buckets_fit_side_by_side() -> None:
    """Lost otherwise: what `--since 24h` means."""
    now = 10**18
    assert asked(("a", "b"), "24h", None, now) == {"q": "a b", "start": str(now - 24 * HOUR)}
    assert asked((), "2026-01-31T00:00:00Z", "1h", now) == {"start": "2026-01-31T00:00:00Z", "end": str(now - HOUR)}
    assert [bucket_for(since) for since in ("1h", "24h", "7d", "90d", None)] == [
        "300s", "3600s", "21600s", "604800s", "21600s",
    ]  # fmt: skip
