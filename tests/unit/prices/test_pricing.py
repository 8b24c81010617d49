"""Lost otherwise: a cost that nobody knows told as zero, a part priced twice, an operator's own price passed over."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.normalise.prices.own import OwnPrice
from agenttrace_core.normalise.prices.pricing import PACKAGE_PRICES, Pricing
from agenttrace_core.schema.tables import MONEY
from tests.unit.prices.spans import columns_of

_MOST = Decimal("999999.999999999999")


def cost_of(pricing: Pricing = PACKAGE_PRICES, **span: Any) -> Decimal | None:
    (cost,) = pricing.costs(columns_of([{"start_ns": ns(2026, 1, 1)} | span])).to_pylist()
    assert cost is None or isinstance(cost, Decimal)
    return cost


def ns(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 10**9


def own(model: str = "mine", **rates: Any) -> OwnPrice:
    numbers = {k: v if k in {"provider", "since_ns"} else Decimal(v) for k, v in rates.items()}
    return OwnPrice(model=model, **{"input": Decimal(1), "output": Decimal(2)} | numbers)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"), ("OpenAI", "gpt-4o-2024-08-06"), ("openai.chat", "gpt-4o"), (None, "gpt-4o"),
        (None, "openai/gpt-4o"), ("litellm", "openai/gpt-4o"), ("langchain", "gpt-4o"), ("openai", "openai/gpt-4o"),
    ],
)  # fmt: skip
def test_one_model_costs_the_same_under_each_of_its_names(provider: str | None, model: str) -> None:
    """Else the same call is dear on one screen and free on another."""
    assert cost_of(provider=provider, model=model, input_tokens=1_000_000, output_tokens=100_000) == Decimal("3.5")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("azure", "gpt-4o"), ("az.ai.openai", "gpt-4o"), ("azure.ai.inference", "gpt-35-turbo"),
        ("aws.bedrock", "anthropic.claude-3-5-sonnet-20240620-v1:0"), ("AWS", "us.amazon.nova-lite-v1:0"),
        ("aws_bedrock", "bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0"),
        ("bedrock", "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0"),
        ("gcp.vertex_ai", "gemini-2.5-pro"), ("gcp.gemini", "models/gemini-2.5-flash"),
        ("gcp.gen_ai", "gemini-2.5-pro"),
        ("gcp.vertex_ai", "projects/p/locations/eu/publishers/google/models/gemini-2.5-pro"),
        ("gcp.vertex_ai", "claude-sonnet-4@20250514"), ("gcp.vertex.agent", "gpt-4.1-mini"),
        ("anthropic", "claude-sonnet-4-20250514"), ("x_ai", "grok-4"), ("xai", "grok-4-latest"),
        ("groq", "llama-3.3-70b-versatile"),
        ("mistral_ai", "mistral-large-latest"), ("cohere", "command-r-plus"), ("deepseek", "deepseek-chat"),
        ("perplexity", "sonar-pro"), ("moonshot_ai", "kimi-k2-0711-preview"), (None, "claude-3-5-haiku-latest"),
        ("openai", "gemini-2.5-pro"), ("openai", "claude-sonnet-4-20250514"),
        ("together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        (None, "text-embedding-3-small"), (None, "us.amazon.nova-pro-v1:0"),
        ("aws.bedrock", "nova-pro-v1:0"), ("aws.bedrock", "llama3-70b-instruct-v1:0"),
    ],
)  # fmt: skip
def test_the_spellings_of_telemetry_are_known(provider: str | None, model: str) -> None:
    """Each is a spelling of OpenTelemetry, of an instrumentation or of a cloud."""
    cost = cost_of(provider=provider, model=model, input_tokens=1000, output_tokens=1000)
    assert cost is not None
    assert cost > 0


@pytest.mark.parametrize(
    "span",
    [
        {"provider": "openai", "model": "no-such-model", "input_tokens": 5},
        {"provider": "ollama", "model": "gpt-4o", "input_tokens": 5},
        {"provider": "huggingface", "model": "deepseek-ai/DeepSeek-R1", "input_tokens": 5},
        {"provider": "groq", "model": "gpt-4o", "input_tokens": 5},
        {"provider": "aws.bedrock", "model": "no-such-model", "input_tokens": 5},
        {"model": "us.amazon.no-such-model", "input_tokens": 5},
        {"provider": "openai", "model": "gpt-4o"},
        {"provider": "openai", "input_tokens": 5},
        {"provider": "openai", "model": "", "input_tokens": 5},
        {"provider": "openai", "model": "/", "input_tokens": 5},
        {"provider": "groq", "model": "whisper-large-v3", "input_tokens": 5},  # by the hour, not by tokens
        {"model": "gpt-4o" + "x" * 100_000, "input_tokens": 5},
        {"model": "\0", "provider": "\0", "input_tokens": 5},
    ],
)
def test_what_is_not_known_has_no_cost(span: dict[str, Any]) -> None:
    """Zero would be a lie that sums hide."""
    assert cost_of(**span) is None


def test_a_call_that_read_nothing_costs_nothing_and_a_free_model_is_known_to_be_free() -> None:
    """These are zeros that are known."""
    assert cost_of(provider="openai", model="gpt-4o", input_tokens=0) == 0
    assert cost_of(provider="openrouter", model="deepseek/deepseek-r1:free", input_tokens=9) == 0


def test_each_part_has_its_own_rate_and_none_is_priced_twice() -> None:
    """Totals include their parts: a million tokens read, of which most were cached, are a million, not two."""
    prices = Pricing([own(cache_read="0.1", cache_write="1.25", input_audio=10, reasoning=3, output_audio=20)])
    tokens = {
        "input_tokens": 1_000_000, "cache_read_tokens": 500_000, "cache_write_tokens": 100_000,
        "input_audio_tokens": 50_000, "output_tokens": 100_000, "reasoning_tokens": 60_000,
        "output_audio_tokens": 10_000,
    }  # fmt: skip
    assert cost_of(prices, model="mine", **tokens) == (
        Decimal("0.35") + Decimal("0.05") + Decimal("0.125") + Decimal("0.5")
        + Decimal("0.06") + Decimal("0.18") + Decimal("0.2")
    )  # fmt: skip


def test_parts_that_exceed_their_total_are_cut_to_it() -> None:
    """What does not add up must not make a cost below zero, nor one beyond the total's."""
    prices = Pricing([own(cache_read="0.1", reasoning=3, input_audio=10)])
    assert cost_of(prices, model="mine", input_tokens=10, cache_read_tokens=100) == Decimal("0.00001")
    assert cost_of(prices, model="mine", output_tokens=10, reasoning_tokens=100) == Decimal("0.00003")
    assert cost_of(prices, model="mine", input_tokens=10, input_audio_tokens=100) == Decimal("0.0001")
    assert cost_of(prices, model="mine", input_tokens=-5, output_tokens=10) == Decimal("0.00002")


def test_a_large_request_has_the_rates_of_its_tier_for_all_its_tokens() -> None:
    """Gemini 2.5 Pro: above 200,000 tokens of input everything costs more, the output too."""
    at, above = (
        cost_of(provider="google", model="gemini-2.5-pro", input_tokens=n, output_tokens=1000)
        for n in (200_000, 200_001)
    )
    assert at == Decimal("0.26")
    assert above == Decimal("0.5150025")


def test_the_price_at_the_start_of_the_span_holds() -> None:
    """A price that falls must not make last year's calls cheaper; some hours of the day cost less."""
    o3 = {"provider": "openai", "model": "o3", "input_tokens": 1_000_000}
    assert cost_of(**o3, start_ns=ns(2025, 6, 9, 23)) == 10
    assert cost_of(**o3, start_ns=ns(2025, 6, 10)) == 2
    assert cost_of(**o3, start_ns=None) == 2, "the receipt's time stands in for a start that is not told"
    night = {"provider": "deepseek", "model": "deepseek-reasoner", "input_tokens": 1_000_000}
    assert cost_of(**night, start_ns=ns(2025, 3, 1, 12)) == Decimal("0.55")
    assert cost_of(**night, start_ns=ns(2025, 3, 1, 20)) == Decimal("0.135")


def test_own_prices_go_before_the_packages_from_their_day_on() -> None:
    """An operator with a contract knows better than any list."""
    prices = Pricing(
        [
            own("GPT-4o*", input=1, since_ns=ns(2026, 1, 1)),
            own("gpt-4o*", input=3, since_ns=ns(2026, 2, 1)),
            own("in-house-*", provider="ours", input=5, since_ns=ns(2026, 1, 1)),
        ]
    )
    call = {"provider": "openai", "model": "gpt-4o", "input_tokens": 1_000_000}
    assert cost_of(prices, **call, start_ns=ns(2025, 12, 31, 23)) == Decimal("2.5")
    assert cost_of(prices, **call, start_ns=ns(2026, 1, 1)) == 1
    assert cost_of(prices, **call, start_ns=ns(2026, 2, 1)) == 3
    house = {"model": "in-house-7b", "input_tokens": 1_000_000}
    assert cost_of(prices, provider="ours", **house, start_ns=ns(2026, 1, 1)) == 5
    assert cost_of(prices, provider="ours", **house, start_ns=ns(2025, 1, 1)) is None
    assert cost_of(prices, provider="theirs", **house) is None
    assert cost_of(prices, **house) is None


rates = st.decimals(0, 10**6, places=18, allow_nan=False) | st.integers(0, 1000).map(Decimal)
tokens = st.none() | st.integers(0, 2**63 - 1) | st.integers(0, 100_000)


@given(read=rates, written=rates, total=tokens, out=tokens)
def test_any_rates_and_counts_are_exact_or_the_most_there_is(
    read: Decimal, written: Decimal, total: int | None, out: int | None
) -> None:
    """No rate is so fine and no count so large that the cost wraps around, or is off in the last place."""
    prices = Pricing([own(input=read, output=written)])
    found = cost_of(prices, model="mine", input_tokens=total, output_tokens=out)
    if total is None and out is None:
        assert found is None
        return
    with localcontext() as context:
        context.prec = 100
        exact = read * min(total or 0, 2**60) + written * min(out or 0, 2**60)
        expected = min(_MOST, exact.scaleb(-6).quantize(Decimal(1).scaleb(-12), ROUND_HALF_EVEN))
    assert found == expected


def test_halves_are_rounded_to_even() -> None:
    """Half a pico-dollar a token: the rule that the documentation states."""
    prices = Pricing([own(input="0.0000005")])
    costs = prices.costs(columns_of([{"model": "mine", "input_tokens": n} for n in (1, 2, 3, 5, 7)]))
    assert costs.type == MONEY
    assert [int(cost.scaleb(12)) for cost in costs.to_pylist()] == [0, 1, 2, 2, 4]


def test_many_names_do_not_fill_the_memory() -> None:
    """Names are the sender's to choose."""
    prices = Pricing()
    prices.costs(columns_of([{"provider": "openai", "model": f"m{i}", "input_tokens": 1} for i in range(20_000)]))
    assert prices._price.cache_info().currsize <= 8_192
