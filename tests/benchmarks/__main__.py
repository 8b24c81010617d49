"""``python -m tests.benchmarks [MEASURE…]``: runs the measures named, or all, and prints and writes what they found."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tests.benchmarks import flow, lookup, probes, questions, recovery, sdk
from tests.benchmarks.against import Other, compare
from tests.benchmarks.plan import QUICK, Plan
from tests.benchmarks.report import Table, machine_facts, write_json


async def _machine(plan: Plan) -> Table:
    return await probes.machine(plan.base, seconds=plan.probe_s, senders=plan.senders, connections=plan.connections)


async def _scaled(plan: Plan) -> Table:
    from tests.benchmarks.scaled import scaled  # needs more installed than the others

    return await scaled(plan)


_MEASURES: dict[str, Callable[[Plan], Awaitable[Table]]] = {
    "machine": _machine,
    "ack": flow.acknowledged,
    "sustain": flow.sustained,
    "soak": flow.soak,
    "search": flow.search,
    "lookup": lookup.by_id,
    "questions": questions.searches,
    "big": lookup.big_trace,
    "startup": recovery.start_up,
    "backlog": recovery.backlog,
    "kill": recovery.kills,
    "sdk": sdk.overhead,
    "scaled": _scaled,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("measures", nargs=-1, type=click.Choice([*_MEASURES, "against"]))
@click.option("--quick", is_flag=True, help="Short runs, to see that it works; not to be quoted.")
@click.option("--rate", type=float, help="Spans a second to hold (80000).")
@click.option("--seconds", type=float, help="Length of each load, instead of each measure's own.")
@click.option("--library-spans", type=int, help="Spans that look-ups and start-up are measured on (10000000).")
@click.option("--library-days", type=float, help="Days over which their times are spread (1; questions ask for 7).")
@click.option("--library", type=click.Path(path_type=Path), help="Folder of those spans; loaded if new, and kept.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A configuration key of the server.")
@click.option("--senders", default=1, show_default=True, help="Sending processes.")
@click.option("--connections", default=16, show_default=True, help="Connections of all senders.")
@click.option("--base", type=click.Path(path_type=Path, file_okay=False), help="Where data folders are made.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Where the JSON goes (build/benchmarks/…).")
@click.option(
    "--against", nargs=4, metavar="NAME COMMAND OTLP_URL TRACE_URL",
    help="Measure another system too: COMMAND starts it, with {folder} for its data; TRACE_URL has {trace_id}.",
)  # fmt: skip
def main(
    measures: tuple[str, ...],
    quick: bool,
    rate: float | None,
    seconds: float | None,
    library_spans: int | None,
    library_days: float | None,
    library: Path | None,
    settings: tuple[str, ...],
    senders: int,
    connections: int,
    base: Path | None,
    json_path: Path | None,
    against: tuple[str, str, str, str] | None,
) -> None:
    """Measure AgentTrace on this machine, started as a user starts it. MEASURES are all of them by default."""
    console = Console()
    other = Other(*against) if against else None
    with tempfile.TemporaryDirectory(prefix="agenttrace-benchmark-", dir=base, ignore_cleanup_errors=True) as scratch:
        given: dict[str, Any] = {
            "rate": rate, "library_spans": library_spans, "library_days": library_days,
            **dict.fromkeys(("ack_s", "sustain_s", "soak_s", "search_s", "scaled_s") if seconds else (), seconds),
        }  # fmt: skip
        plan = Plan(
            base=Path(scratch),
            library=library or Path(scratch) / "library",
            senders=senders,
            connections=connections,
        )
        plan = dataclasses.replace(plan, **(QUICK if quick else {}))
        plan = dataclasses.replace(plan, **{key: value for key, value in given.items() if value is not None})
        chosen = dict(setting.split("=", 1) for setting in settings)
        plan = dataclasses.replace(plan, options={**plan.options, **chosen})
        names = measures or (*_MEASURES, *(["against"] if other else []))
        facts = machine_facts(plan.base)
        path = json_path or Path("build/benchmarks") / f"{facts['time'].replace(':', '')}.json"
        failed = _run(console, plan, names, other, lambda tables: write_json(path, facts, tables))
    console.print(f"written to {path}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _run(
    console: Console, plan: Plan, names: tuple[str, ...], other: Other | None, save: Callable[[list[Table]], None]
) -> list[str]:
    """Run measures one after the other, and save after each; one that fails does not cost the others."""
    tables: list[Table] = []
    failed: list[str] = []
    for name in names:
        console.rule(name)
        begun = time.monotonic()
        try:
            table = asyncio.run(_measure(name, plan, other))
        except (OSError, RuntimeError, ExceptionGroup):
            console.print_exception()
            failed.append(name)
            continue
        table.seconds = time.monotonic() - begun
        table.show(console)
        tables.append(table)
        save(tables)
    return failed


async def _measure(name: str, plan: Plan, other: Other | None) -> Table:
    if name != "against":
        return await _MEASURES[name](plan)
    if other is None:
        raise click.UsageError("the measure 'against' needs --against NAME COMMAND OTLP_URL TRACE_URL")
    return await compare(other, plan)


if __name__ == "__main__":
    main()
