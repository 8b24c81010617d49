"""The prices of the package ``genai-prices``, in our form. Nothing else in here knows of that package.

https://github.com/pydantic/genai-prices
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from agenttrace_core.normalise.prices import names
from agenttrace_core.normalise.prices.rates import Rates
from agenttrace_core.normalise.prices.tariffs import ModelPrice, Period, Tariff, When

if TYPE_CHECKING:
    from genai_prices import data_snapshot, types

_PER_TOKEN = Decimal(1).scaleb(-6)
_PER_REQUEST = Decimal(1).scaleb(-3)
_UNITS = {
    "input_mtok": ("input", _PER_TOKEN),
    "cache_read_mtok": ("cache_read", _PER_TOKEN),
    "cache_audio_read_mtok": ("cache_read_audio", _PER_TOKEN),
    "cache_write_mtok": ("cache_write", _PER_TOKEN),
    "input_audio_mtok": ("input_audio", _PER_TOKEN),
    "output_mtok": ("output", _PER_TOKEN),
    "output_reasoning_mtok": ("reasoning", _PER_TOKEN),
    "output_audio_mtok": ("output_audio", _PER_TOKEN),
    "requests_kcount": ("request", _PER_REQUEST),
}
"""The package's units that telemetry counts. Searches, pages, images and hours are on no span."""


def find(provider: str | None, model: str) -> ModelPrice | None:
    """Return the package's price of a model, by the names that a span has; None if it knows none."""
    for known, name in _candidates(provider, model):
        found = known.find_model(name, all_providers=_snapshot().providers)
        if found is not None:
            return _converted(found)
    return None


def load() -> None:
    """Import the package's data, which takes a third of a second, so that no span has to wait for it."""
    _snapshot()


def _candidates(provider: str | None, model: str) -> Iterator[tuple[types.Provider, str]]:
    """Whose prices to look in, for which name: the provider's own; without one, those of the model's maker."""
    own = _provider(provider) if provider else None
    if own is not None:
        yield from ((own, name) for name in names.model_names(model))
        if own.id == "aws":
            yield from ((own, f"{maker}.{model}") for maker in names.MAKERS_ON_AWS)
        if own.id not in names.OWN_MODELS_ONLY:
            return
    gateway = names.split_provider(model)
    via = _provider(gateway[0]) if gateway else None
    if gateway is not None and via is not None:
        yield from ((via, name) for name in names.model_names(gateway[1]))
    for name in names.model_names(model):
        maker = next((p for p in _snapshot().providers if p.model_match and p.model_match.is_match(name)), None)
        if maker is not None and maker is not own:
            yield maker, name
    if own is None:
        aws = _provider("aws") if names.is_on_aws(model) else None
        for maker in (aws,) if aws else _makers():
            yield from ((maker, name) for name in names.model_names(model))


@cache
def _snapshot() -> data_snapshot.DataSnapshot:
    # What the package ships: the process must not depend on what another user of the package has loaded.
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)


def _makers() -> Iterator[types.Provider]:
    """Iterate over those whose models are their own: some of these go by names that tell no maker."""
    return (provider for provider in _snapshot().providers if provider.id in names.OWN_MODELS_ONLY)


def _provider(spelled: str) -> types.Provider | None:
    from genai_prices.data_snapshot import find_provider_by_id

    found = (find_provider_by_id(_snapshot().providers, name) for name in names.provider_ids(spelled))
    return next((provider for provider in found if provider is not None), None)


def _converted(model: types.ModelInfo) -> ModelPrice:
    prices = model.prices
    if not isinstance(prices, list):
        return ModelPrice((Period(When(), _tariff(prices)),))
    return ModelPrice(tuple(Period(_when(price.constraint), _tariff(price.prices)) for price in prices))


def _when(constraint: types.StartDateConstraint | types.TimeOfDateConstraint | None) -> When:
    from genai_prices.types import StartDateConstraint

    if constraint is None:
        return When()
    if isinstance(constraint, StartDateConstraint):
        midnight = datetime.combine(constraint.start_date, time(), UTC)
        return When(since_ns=int(midnight.timestamp()) * 10**9)
    return When(of_day_ns=(_of_day_ns(constraint.start_time), _of_day_ns(constraint.end_time)))


def _of_day_ns(at: time) -> int:
    utc = at if at.tzinfo is None else datetime.combine(datetime(1970, 1, 1), at).astimezone(UTC).time()  # noqa: DTZ001 - the time has the zone
    return ((utc.hour * 60 + utc.minute) * 60 + utc.second) * 10**9 + utc.microsecond * 1000


def _tariff(price: types.ModelPrice) -> Tariff | None:
    """Turn a price into ours; None where it has prices, but none for what telemetry counts."""
    from genai_prices.types import TieredPrices

    said = {key: value for key, value in vars(price).items() if value is not None}
    ours = {key: value for key, value in said.items() if key in _UNITS}
    if said and not ours:
        return None
    above = sorted({tier.start for value in ours.values() if isinstance(value, TieredPrices) for tier in value.tiers})
    return Tariff(tuple(above), tuple(_rates(ours.items(), size) for size in (0, *(start + 1 for start in above))))


def _rates(prices: Iterable[tuple[str, Decimal | types.TieredPrices]], input_tokens: int) -> Rates:
    """The rates of a request of that size."""
    usd: dict[str, Decimal] = {}
    for key, value in prices:
        part, unit = _UNITS[key]
        usd[part] = _at(value, input_tokens) * unit
    return Rates.of(usd)


def _at(price: Decimal | types.TieredPrices, input_tokens: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return reached[-1] if reached else price.base
