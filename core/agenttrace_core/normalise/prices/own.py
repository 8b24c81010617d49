"""Prices that the operator states: they go before the package's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from agenttrace_core.normalise.prices.rates import Rates
from agenttrace_core.normalise.prices.tariffs import ModelPrice, Period, Tariff, When


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """Dollars per million tokens of the models whose names match ``model``, from ``since_ns`` on.

    Attributes:
        model: a name, in which ``*`` is any text; case does not count.
        input: of input tokens that no other part says more of.
        output: of output tokens.
        provider: the same for the provider's name; None is any, also none.
        since_ns: the first nanosecond at which it holds, since the epoch; None is ever since.
        cache_read: of input tokens read from a cache; None is as ``input``. Likewise the others.
        cache_write: of input tokens written to a cache.
        input_audio: of audio that was read.
        reasoning: of output tokens that were thought only; None is as ``output``.
        output_audio: of audio that was spoken.
    """

    model: str
    input: Decimal
    output: Decimal
    provider: str | None = None
    since_ns: int | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    input_audio: Decimal | None = None
    reasoning: Decimal | None = None
    output_audio: Decimal | None = None

    def is_for(self, provider: str | None, model: str) -> bool:
        """Tell whether it is the price of a model of that name."""
        if _pattern(self.model).fullmatch(model) is None:
            return False
        return self.provider is None or (
            provider is not None and _pattern(self.provider).fullmatch(provider) is not None
        )

    def tariff(self) -> Tariff:
        """Return it as a tariff without tiers."""
        parts = ("input", "output", "cache_read", "cache_write", "input_audio", "reasoning", "output_audio")
        usd = {part: getattr(self, part).scaleb(-6) for part in parts if getattr(self, part) is not None}
        return Tariff((), (Rates.of(usd),))


def overriding(own: Sequence[OwnPrice], others: ModelPrice | None) -> ModelPrice | None:
    """Lay own prices, which are all of one model, over another's: the one that began last counts.

    Of those that began together the last one does.
    """
    if not own:
        return others
    ordered = sorted(own, key=lambda price: -(2**63) if price.since_ns is None else price.since_ns)
    periods = tuple(Period(When(since_ns=price.since_ns), price.tariff()) for price in ordered)
    if others is None:
        return ModelPrice(periods, always=False)
    return ModelPrice((*others.periods, *periods), others.always)


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in glob.split("*")), re.IGNORECASE | re.DOTALL)
