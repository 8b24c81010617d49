"""What rows add to sums of tokens and cost: the one function by which anything is counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Bools, Int64s, whole
from agenttrace_core.schema.keys import numbers_of

MONEY_SUM = pa.decimal128(38, 12)
"""Sums of ``MONEY``."""

USAGE_COLUMNS = ("input_tokens", "output_tokens", "cost_usd", "counted")
"""What ``Usage.of`` reads of ``LIGHT``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and cost of each row as they count in sums: 0 where the row has none, or does not count.

    ``unpriced`` marks rows that count, have tokens, and no cost.
    """

    input_tokens: Int64s
    output_tokens: Int64s
    cost_pico_usd: Int64s
    unpriced: Bools

    @classmethod
    def of(cls, rows: pa.Table) -> Usage:
        """Read the usage of rows that hold ``USAGE_COLUMNS``."""
        counts = np.asarray(whole(rows["counted"]).fill_null(False))
        tokens = [whole(rows[name]) for name in ("input_tokens", "output_tokens")]
        has_tokens = np.logical_or(*(np.asarray(column.is_valid()) for column in tokens))
        cost = whole(rows["cost_usd"])
        return cls(
            input_tokens=np.where(counts, tokens[0].fill_null(0).to_numpy(), 0),
            output_tokens=np.where(counts, tokens[1].fill_null(0).to_numpy(), 0),
            cost_pico_usd=np.where(counts, pico_usd(cost), 0),
            unpriced=counts & has_tokens & np.asarray(cost.is_null()),
        )


def pico_usd(money: pa.Array) -> Int64s:
    """Return amounts of type ``MONEY`` as integers of 1e-12 dollars, 0 where there is none."""
    if len(money) == money.null_count:
        return np.zeros(len(money), np.int64)
    # A decimal128 is two little-endian words; 18 digits fit into the lower one.
    words = numbers_of(money.buffers()[1], np.int64)[2 * money.offset : 2 * (money.offset + len(money)) : 2]
    return np.where(np.asarray(money.is_valid()), words, 0)


def money(pico: Int64s) -> pa.Array:
    """Return integers of 1e-12 dollars as amounts that have room for sums: ``decimal128(38, 12)``."""
    words = np.empty((len(pico), 2), np.int64)
    words[:, 0] = pico
    words[:, 1] = pico >> 63  # the sign
    return pa.Array.from_buffers(MONEY_SUM, len(pico), [None, pa.py_buffer(words)])
