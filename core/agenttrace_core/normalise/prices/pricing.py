"""The column ``cost_usd`` of a batch of spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.normalise.prices import book, names
from agenttrace_core.normalise.prices.counts import PARTS, USAGE, parts_of
from agenttrace_core.normalise.prices.own import OwnPrice, overriding
from agenttrace_core.normalise.prices.tariffs import ModelPrice
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.tables import MONEY

_REMEMBERED = 8_192
_NONE = pa.scalar("", pa.string())
_INPUT_PARTS = [i for i, part in enumerate(PARTS) if part.startswith(("input", "cache"))]


class Pricing:
    """The prices in force: the operator's own, else the package's. Safe in several threads at once.

    Args:
        own: what the operator states.
    """

    def __init__(self, own: Sequence[OwnPrice] = ()) -> None:
        self._own = tuple(own)
        self._price = lru_cache(maxsize=_REMEMBERED)(self._find)

    def load(self) -> None:
        """Fetch the package's prices now; otherwise the first span with tokens does."""
        book.load()

    def costs(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        """Return what spans cost, as ``MONEY``; null without a model, without tokens, or without a known price.

        ``columns`` are the columns of ``LIGHT`` named in ``USAGE``, ``provider``, ``model``, ``start_ns`` and
        ``received_ns``. The price at the start holds (where there is none, at the receipt).
        """
        total = len(columns["model"])
        tokens = pc.or_(columns["input_tokens"].is_valid(), columns["output_tokens"].is_valid())
        rows = np.flatnonzero(np.asarray(pc.and_(tokens, columns["model"].is_valid())))
        if len(rows) == 0:
            return pa.nulls(total, MONEY)
        index = pa.array(rows)
        counts = parts_of({name: columns[name].take(index) for name in USAGE})
        at = pc.coalesce(columns["start_ns"].take(index), columns["received_ns"].take(index)).to_numpy()
        cost, known = self._of_groups(
            *self._prices(columns["provider"].take(index), columns["model"].take(index)), counts, at
        )
        amounts, valid = np.zeros(total, np.int64), np.zeros(total, np.bool_)
        amounts[rows], valid[rows] = cost, known
        return money(amounts, valid)

    def _prices(self, providers: pa.StringArray, models: pa.StringArray) -> tuple[list[ModelPrice | None], Int64s]:
        """The distinct prices of spans, and which of them is each span's."""
        provider, model = (column.fill_null(_NONE).dictionary_encode() for column in (providers, models))
        pairs = provider.indices.to_numpy().astype(np.int64) * len(model.dictionary) + model.indices.to_numpy()
        distinct, pair = np.unique(pairs, return_inverse=True)
        provider_names, model_names = provider.dictionary.to_pylist(), model.dictionary.to_pylist()
        found = [
            self._price(provider_names[int(p)] or None, model_names[int(m)])
            for p, m in zip(*np.divmod(distinct, len(model_names)), strict=True)
        ]
        places: dict[int, int] = {}
        place = np.array([places.setdefault(id(price), len(places)) for price in found], np.int64)
        prices = list({id(price): price for price in found}.values())
        return prices, place[pair]

    @staticmethod
    def _of_groups(prices: list[ModelPrice | None], price: Int64s, counts: Int64s, at: Int64s) -> tuple[Int64s, Bools]:
        cost, known = np.zeros(len(at), np.int64), np.zeros(len(at), np.bool_)
        total_input = counts[_INPUT_PARTS].sum(axis=0)
        order = np.argsort(price, kind="stable")
        bounds = np.searchsorted(price[order], np.arange(len(prices) + 1))
        for i, model in enumerate(prices):
            rows = order[bounds[i] : bounds[i + 1]]
            if model is not None:
                cost[rows], known[rows] = model.cost_pico_usd(counts[:, rows], total_input[rows], at[rows])
        return cost, known

    def _find(self, provider: str | None, model: str) -> ModelPrice | None:
        if len(model) > names.MAX_NAME or (provider is not None and len(provider) > names.MAX_NAME):
            return None
        own = [price for price in self._own if price.is_for(provider, model)]
        listed = None if provider is not None and provider.lower() in names.UNLISTED else book.find(provider, model)
        return overriding(own, listed)


PACKAGE_PRICES = Pricing()
"""The package's prices alone."""


def money(pico_usd: Int64s, valid: Bools) -> pa.Array:
    """Return amounts of 1e-12 dollars, none below zero, as ``MONEY``; null where not ``valid``."""
    words = np.zeros((len(pico_usd), 2), np.int64)
    words[:, 0] = pico_usd
    validity = pa.array(valid).buffers()[1]
    return pa.Array.from_buffers(MONEY, len(pico_usd), [validity, pa.py_buffer(words)])
