"""Rates as integers, and their product with counts: exact to the last of 12 places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from agenttrace_core.normalise.prices.counts import PARTS
from agenttrace_core.schema.arrays import Int64s

MOST_PICO_USD = 10**18 - 1
"""The greatest amount that ``MONEY`` holds: a million dollars, less the last place."""

_PICO = Decimal(10) ** 12
_SAFE = float(1 << 61)

# Whose rate a part has where it has none of its own.
_PARENT = {
    "cache_read": "input", "cache_write": "input", "input_audio": "input",
    "reasoning": "output", "output_audio": "output",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rates:
    """What one unit of each part costs: ``whole + rest / divisor`` pico-dollars, in the order of ``PARTS``."""

    whole: Int64s
    rest: Int64s
    divisor: int

    @classmethod
    def of(cls, usd: Mapping[str, Decimal]) -> Rates:
        """Take dollars a unit, by part. A part without a rate has that of what it is a part of; else it is free."""
        full = dict(usd)
        for part, parent in _PARENT.items():
            if part not in full and parent in full:
                full[part] = full[parent]
        if "cache_read_audio" not in full:
            # Of what says nothing of audio from the cache, the nearer of the two that it is.
            nearer = "cache_read" if "cache_read" in usd or "input_audio" not in usd else "input_audio"
            full["cache_read_audio"] = full.get(nearer, Decimal(0))
        pico = [full.get(part, Decimal(0)) * _PICO for part in PARTS]
        places = max(0, *(-_exponent(amount) for amount in pico))
        scaled = [int(amount.scaleb(places)) for amount in pico]
        divisor = 10**places
        kind = np.int64 if divisor < _SAFE else object
        return cls(
            np.array([amount // divisor for amount in scaled], np.int64),
            np.array([amount % divisor for amount in scaled], kind),
            divisor,
        )

    def cost_pico_usd(self, counts: Int64s) -> Int64s:
        """Return what ``counts`` (by part and row) cost, rounded half to even, at most ``MOST_PICO_USD``."""
        guess = (self.whole + self.rest / self.divisor).astype(np.float64) @ counts.astype(np.float64)
        fits = guess < 2.0 * MOST_PICO_USD
        if fits.all():
            return self._exact(counts)
        cost = np.full(counts.shape[1], MOST_PICO_USD, np.int64)
        cost[fits] = self._exact(counts[:, fits])
        return cost

    def _exact(self, counts: Int64s) -> Int64s:
        cost: Int64s = self.whole @ counts
        if self.divisor > 1:
            rest = self._rests(counts)
            cost = cost + (rest // self.divisor).astype(np.int64)
            left = rest % self.divisor * 2
            cost = cost + ((left > self.divisor) | ((left == self.divisor) & (cost % 2 == 1))).astype(np.int64)
        return np.minimum(cost, MOST_PICO_USD)

    def _rests(self, counts: Int64s) -> np.ndarray[Any, Any]:
        """What the fractions add up to: in Python's integers where 64 bits might not hold it."""
        most = counts.max(axis=1, initial=0).astype(np.float64)
        if self.rest.dtype == object or float(self.rest @ most) >= _SAFE:
            exact: np.ndarray[Any, Any] = self.rest.astype(object) @ counts.astype(object)
            return exact
        return self.rest @ counts


def _exponent(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "a rate is a finite number"
    return exponent
