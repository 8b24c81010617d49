"""What a measure found, as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table as RichTable

from tests.benchmarks.bodies import SPANS, SPANS_PER_TRACE

_LIBRARIES = (
    "agenttrace-platform", "pyarrow", "duckdb", "protobuf", "ptars", "uvicorn", "httptools", "uvloop", "numpy",
)  # fmt: skip


def quantiles(values: Sequence[float] | npt.NDArray[np.float64], *at: float) -> list[float]:
    """Return the quantiles of ``values``; NaN for each where there are none."""
    if len(values) == 0:
        return [float("nan")] * len(at)
    return [float(value) for value in np.quantile(np.asarray(values), at)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. ``target`` is the bound it is to keep, as text such as ``< 10``; '' for none."""

    name: str
    value: float
    unit: str
    target: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        return self.value < float(bound) if sign == "<" else self.value >= float(bound)


@dataclass(slots=True)
class Table:
    """The figures of one measure. ``series`` are what they came from, for whoever wants to plot them."""

    measure: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, name: str, value: float, unit: str, target: str = "") -> None:
        """Append a figure."""
        self.figures.append(Figure(name, float(value), unit, target))

    def note(self, text: str) -> None:
        """Append a sentence that whoever reads the figures must know."""
        self.notes.append(text)

    def show(self, console: Console) -> None:
        """Print the figures as a table."""
        table = RichTable(title=f"{self.title}  ({self.measure}, {self.seconds:.0f} s)", title_justify="left")
        table.add_column("figure")
        table.add_column("value", justify="right")
        table.add_column("unit")
        table.add_column("target")
        for figure in self.figures:
            colour = {True: "[green]", False: "[red]", None: ""}[figure.met]
            table.add_row(figure.name, f"{colour}{_number(figure.value)}", figure.unit, figure.target)
        console.print(table)
        for text in self.notes:
            console.print(f"  note: {text}")

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        figures = [
            {**asdict(figure), "value": None if math.isnan(figure.value) else figure.value, "met": figure.met}
            for figure in self.figures
        ]
        return {
            "measure": self.measure, "title": self.title, "seconds": self.seconds,
            "figures": figures, "notes": self.notes, "series": self.series,
        }  # fmt: skip


def _number(value: float) -> str:
    if math.isnan(value):
        return "none"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def machine_facts(folder: Path) -> dict[str, Any]:
    """Return what a figure depends on: the machine, the versions, the shape of the load."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "filesystem": _filesystem(folder),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _LIBRARIES},
        "commit": _commit(),
        "command": " ".join(["python", "-m", "tests.benchmarks", *sys.argv[1:]]),
        "spans_a_request": SPANS,
        "spans_a_trace": SPANS_PER_TRACE,
    }


def write_json(path: Path, facts: dict[str, Any], tables: list[Table]) -> None:
    """Write facts and figures as one JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": facts, "measures": [table.as_json() for table in tables]}, indent=1) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _filesystem(folder: Path) -> str:
    """Return the type of the file system that holds ``folder``: that of the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above)[1]


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip()
