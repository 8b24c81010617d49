"""Tokens of spans in parts that do not overlap, so that each token is priced once, at one rate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Int64s

PARTS = (
    "input", "cache_read", "cache_read_audio", "cache_write", "input_audio",
    "output", "reasoning", "output_audio", "request",
)  # fmt: skip
"""What is priced. ``input`` and ``output`` are what the other parts leave; ``request`` is 1 a span."""

USAGE = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "input_audio_tokens", "output_audio_tokens",
)  # fmt: skip
"""The columns of ``LIGHT`` that ``parts_of`` reads."""

_MOST = np.int64(1) << np.int64(60)


def parts_of(usage: Mapping[str, pa.Array]) -> Int64s:
    """Return counts by part, shape ``(len(PARTS), rows)``, of columns ``USAGE``.

    Totals include their parts (OpenTelemetry's form). Parts that say more than their total are cut down
    to it, in the order cached, written, audio; a total below what was cached and written is raised to it,
    since so much was surely read. Audio beyond what was read afresh came from the cache. Counts above
    2**60 are taken as 2**60, so that no sum of them overflows.
    """
    total_in, total_out, cached, written, reasoning, audio_in, audio_out = (_numbers(usage[name]) for name in USAGE)
    total_in = np.maximum(total_in, cached + written)
    fresh_audio = np.minimum(audio_in, total_in - cached - written)
    cached_audio = np.minimum(audio_in - fresh_audio, cached)
    audio_out = np.minimum(audio_out, total_out)
    reasoning = np.minimum(reasoning, total_out - audio_out)
    return np.stack(
        [
            total_in - cached - written - fresh_audio,
            cached - cached_audio,
            cached_audio,
            written,
            fresh_audio,
            total_out - reasoning - audio_out,
            reasoning,
            audio_out,
            np.ones(len(total_in), np.int64),
        ]
    )


def _numbers(column: pa.Array) -> Int64s:
    numbers: Int64s = np.clip(column.fill_null(0).to_numpy(zero_copy_only=False), 0, _MOST)
    return numbers
