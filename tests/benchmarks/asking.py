"""One question over HTTP, asked again and again: how long it takes, and what it costs the query process."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.meter import usage
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import Table, quantiles
from tests.benchmarks.server import Server, process_name

_WARM_UP = 2
_GIVEN_UP_S = 7.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks a server, and writes down what it saw.

    Attributes:
        server: is asked.
        plan: says how often.
        table: where figures go.
        mark: is added to the name of each.
        factor: by how much each bound is greater here.
    """

    server: Server
    plan: Plan
    table: Table
    mark: str = ""
    factor: float = 1.0

    async def ask(self, name: str, path: str, bound: float | None = None) -> Any:
        """Ask for a path, and return the last answer. ``bound`` is in ms, at p95.

        A question that takes long is asked less often.

        Raises:
            RuntimeError: it was refused.
        """
        client, times, cpu_s, answer = self.server.client(), list[float](), list[float](), b"{}"
        begun = time.monotonic()
        for _ in range(_WARM_UP + self.plan.asked):
            cpu_s.append(self._cpu_s())
            took, status, answer = await client.timed_get(path)
            if status != 200:
                raise RuntimeError(f"{path} was answered {status}: {answer[:300]!r}")
            times.append(took)
            if time.monotonic() - begun > _GIVEN_UP_S:
                break
        cpu_s.append(self._cpu_s())
        await client.aclose()
        cold = min(_WARM_UP, len(times) - 1)
        p50, p95 = quantiles(times[cold:], 0.5, 0.95)
        target = "" if bound is None else f"< {bound * self.factor:.0f}"
        self.table.add(f"{name}{self.mark}, p50", p50, "ms")
        self.table.add(f"{name}{self.mark}, p95", p95, "ms", target)
        cost = (cpu_s[-1] - cpu_s[cold]) / len(times[cold:])
        self.table.add(f"{name}{self.mark}, CPU of the query process", cost * 1e3, "ms")
        return json.loads(answer)

    def _cpu_s(self) -> float:
        used = usage(self.server.pid_of("query"), process_name)
        return 0.0 if used is None else used.cpu_s
