"""What it costs a program to be on record: ours beside OpenTelemetry's SDK, and others that are installed."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from importlib.util import find_spec
from typing import Any

from tests.benchmarks.load import ROOT
from tests.benchmarks.plan import Plan
from tests.benchmarks.probes import bare_door
from tests.benchmarks.report import Table

_PACKAGES = {"opentelemetry": "opentelemetry.sdk", "langfuse": "langfuse", "logfire": "logfire"}


async def overhead(plan: Plan) -> Table:
    """Time a decorated call for each contender in turn, several rounds, against a door that stores nothing."""
    table = Table("sdk", "What a recorded call costs the program")
    others = [who for who, package in _PACKAGES.items() if find_spec(package.partition(".")[0]) and find_spec(package)]
    told: dict[str, list[dict[str, Any]]] = {}
    async with bare_door() as url:
        base = url.removesuffix("/v1/traces")
        for _ in range(plan.sdk_rounds):
            for who in ("nobody", "agenttrace", *others):
                told.setdefault(who, []).append(await _run(who, base, plan))
    found = {who: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for who, runs in told.items()}
    reference = found["opentelemetry"]
    for who in ("agenttrace", *others):
        figures = found[who]
        targets = {"call_us": "< 1.3", "cpu_us": "< 1.3"} if who == "agenttrace" else {}
        table.add(f"{who}: a call, in the program", figures["call_us"], "µs")
        table.add(f"{who}: a call, processor time with exporting", figures["cpu_us"], "µs")
        table.add(f"{who}: a call, until all is sent", figures["all_us"], "µs")
        table.add(f"{who}: peak memory", figures["peak_mb"], "MB")
        if who != "opentelemetry":
            for key, name in (("call_us", "in the program"), ("cpu_us", "processor time")):
                table.add(f"{who} / opentelemetry: {name}", figures[key] / reference[key], "", targets.get(key, ""))
        overhead = (figures["loop_s"] / found["nobody"]["loop_s"] - 1) * 100
        table.add(f"{who}: steps of 50 ms take longer by", overhead, "%", "< 1" if who == "agenttrace" else "")
    missing = [who for who in _PACKAGES if who not in others]
    if missing:
        table.note(f"not installed, so not measured: {', '.join(missing)}")
    table.note("medians of all rounds; the contenders take turns, each in a process of its own")
    return table


async def _run(who: str, url: str, plan: Plan) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.sdk_program", who, url, str(plan.sdk_calls), str(plan.sdk_steps),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the program of {who} failed")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result
