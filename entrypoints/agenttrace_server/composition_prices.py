"""The prices by which calls are counted."""

from __future__ import annotations

from datetime import UTC, datetime, time

from agenttrace_core.normalise.prices.own import OwnPrice
from agenttrace_core.normalise.prices.pricing import Pricing
from agenttrace_server.settings import OwnPriceSettings, Settings


def pricing_of(settings: Settings) -> Pricing:
    """Return the operator's prices, and behind them those of the package."""
    return Pricing([_own_price(own) for own in settings.prices.own])


def _own_price(own: OwnPriceSettings) -> OwnPrice:
    since_ns = None
    if own.since is not None:
        since_ns = int(datetime.combine(own.since, time(), UTC).timestamp()) * 10**9
    return OwnPrice(since_ns=since_ns, **own.model_dump(exclude={"since"}))
