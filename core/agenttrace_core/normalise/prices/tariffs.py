"""Which rates hold: by the size of the request, and by when it was made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agenttrace_core.normalise.prices.rates import Rates
from agenttrace_core.schema.arrays import Bools, Int64s

_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """Rates by size: ``rates[i]`` hold, for all of a request's tokens, where its input exceeds ``i`` of ``above``.

    ``above`` are input tokens, ascending; there is one more of ``rates``.
    """

    above: tuple[int, ...]
    rates: tuple[Rates, ...]

    def cost_pico_usd(self, counts: Int64s, input_tokens: Int64s) -> Int64s:
        """Return what requests cost."""
        if not self.above:
            return self.rates[0].cost_pico_usd(counts)
        tier = np.searchsorted(np.array(self.above, np.int64), input_tokens, side="left")
        cost = np.zeros(len(input_tokens), np.int64)
        for i in np.unique(tier):
            cost[tier == i] = self.rates[i].cost_pico_usd(counts[:, tier == i])
        return cost


@dataclass(frozen=True, slots=True)
class When:
    """From a day on, or at a time of the day (which may cross midnight), both UTC; of neither, always."""

    since_ns: int | None = None
    of_day_ns: tuple[int, int] | None = None

    def holds(self, at_ns: Int64s) -> Bools:
        """Tell for each time whether it is then."""
        if self.since_ns is not None:
            return at_ns >= self.since_ns
        if self.of_day_ns is not None:
            first, end = self.of_day_ns
            time = at_ns % _DAY_NS
            return (time >= first) & (time < end) if first <= end else (time >= first) | (time < end)
        return np.ones(len(at_ns), np.bool_)


@dataclass(frozen=True, slots=True)
class Period:
    """A tariff and when it holds; ``tariff`` is None where then the model has no price for tokens."""

    when: When
    tariff: Tariff | None


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """The periods of a model's price. The last that holds counts; if none does, the first, where ``always``."""

    periods: tuple[Period, ...]
    always: bool = True

    def cost_pico_usd(self, counts: Int64s, input_tokens: Int64s, at_ns: Int64s) -> tuple[Int64s, Bools]:
        """Return what requests cost, and which of them have a cost at all."""
        chosen = np.full(len(at_ns), 0 if self.always else -1)
        for i, period in enumerate(self.periods):
            chosen[period.when.holds(at_ns)] = i
        cost = np.zeros(len(at_ns), np.int64)
        known = np.zeros(len(at_ns), np.bool_)
        for i in np.unique(chosen):
            tariff = self.periods[i].tariff if i >= 0 else None
            if tariff is not None:
                rows = chosen == i
                cost[rows] = tariff.cost_pico_usd(counts[:, rows], input_tokens[rows])
                known |= rows
        return cost, known
