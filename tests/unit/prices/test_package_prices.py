"""Lost otherwise: the sums that a team is asked to pay for, in the twelfth place as in the first."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, Provider

from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES
from tests.unit.prices.spans import columns_of

_PACKAGE = DataSnapshot(providers=providers, from_auto_update=False)
_PLACES = Decimal(1).scaleb(-12)
_DATES = [
    datetime(2023, 1, 1, tzinfo=UTC),
    datetime(2025, 6, 1, 3, 30, tzinfo=UTC),
    datetime(2026, 11, 20, 8, tzinfo=UTC),
]


def _name_of(provider: Provider, model: ModelInfo) -> str | None:
    """A name by which the package finds the model; None where another stands before it under each."""
    for name in (model.id, *_literals(model.match)):
        if provider.find_model(name) is model:
            return name
    return None


def _literals(clause: Any) -> Iterator[str]:
    for value in vars(clause).values():
        if isinstance(value, str):
            yield value
        else:
            yield from (literal for part in value for literal in _literals(part))


def _spans(seed: int) -> Iterator[dict[str, Any]]:
    """A span of each model at each date, with tokens on either side of every tier there is."""
    chance = random.Random(seed)
    for provider in providers:
        for name in filter(None, (_name_of(provider, model) for model in provider.models)):
            for date in _DATES:
                size = chance.choice([10, 5_000, 150_000, 200_001, 300_000, 3_000_000])
                total_in, total_out = chance.randrange(size), chance.randrange(size)
                cached = chance.randrange(total_in + 1)
                written = chance.randrange(total_in - cached + 1)
                audio_in = chance.choice([0, chance.randrange(total_in - cached - written + 1)])
                audio_out = chance.choice([0, chance.randrange(total_out + 1)])
                yield {
                    "provider": provider.id,
                    "model": name,
                    "start_ns": int(date.timestamp()) * 10**9,
                    "input_tokens": total_in,
                    "output_tokens": total_out,
                    "cache_read_tokens": cached,
                    "cache_write_tokens": written,
                    "input_audio_tokens": audio_in,
                    "output_audio_tokens": audio_out,
                    "reasoning_tokens": chance.randrange(total_out - audio_out + 1),
                }


def _oracle(span: dict[str, Any]) -> Decimal | None:
    """The package's own answer, with Python's decimals, rounded half to even."""
    usage = Usage(
        input_tokens=span["input_tokens"],
        output_tokens=span["output_tokens"],
        cache_read_tokens=span["cache_read_tokens"],
        cache_write_tokens=span["cache_write_tokens"],
        input_audio_tokens=span["input_audio_tokens"],
        output_audio_tokens=span["output_audio_tokens"],
        output_reasoning_tokens=span["reasoning_tokens"],
        # Where nothing else is said, no audio came from the cache.
        cache_audio_read_tokens=0,
        cache_audio_write_tokens=0,
        output_audio_reasoning_tokens=0,
    )
    date = datetime.fromtimestamp(span["start_ns"] / 10**9, UTC)
    with localcontext() as context:
        context.prec = 60
        answer = _PACKAGE.calc(usage, span["model"], span["provider"], None, date)
        counted = {k for k, v in vars(answer.model_price).items() if v is not None}
        if counted and not any(k.endswith("mtok") or k == "requests_kcount" for k in counted):
            return None
        return answer.total_price.quantize(_PLACES, ROUND_HALF_EVEN)


@pytest.mark.filterwarnings("ignore:Unsupported usage key")
def test_every_model_of_the_package_costs_what_the_package_says() -> None:
    """Each model, each of its dates, tiers and parts, to the last of twelve places."""
    spans = list(_spans(20260101))
    found = PACKAGE_PRICES.costs(columns_of(spans)).to_pylist()
    wrong = [(span, cost, _oracle(span)) for span, cost in zip(spans, found, strict=True) if cost != _oracle(span)]
    assert not wrong
    assert len({(span["provider"], span["model"]) for span in spans}) > 2_000
    assert sum(cost is not None for cost in found) > 0.95 * len(found)
